//! Random requests on the HTTP port, in random pieces, over a real socket.

use super::{Random, target};
use annulet::base::clock::Clock;
use annulet::commands::FAMILIES;
use annulet::config::{Config, ConfigCell};
use annulet::control::ProcessMemory;
use annulet::exec::{CommandTable, Process, ProcessParts};
use annulet::http;
use annulet::observe::{Boards, Level, Log};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

/// A reader that waits longer has found a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The head of a request that is valid, with the right password.
const VALID: &[u8] =
    b"GET /healthz HTTP/1.0\r\nAuthorization: Basic ZGVmYXVsdDpwYXNz\r\nHost: localhost\r\n\r\n";

/// Serves the port of a process whose shards do not run, whose password is `pass`.
fn serve() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let mut config = Config::default();
    config.http_port = port;
    config.requirepass = b"pass".to_vec();
    let process = Arc::new(Process::new(ProcessParts {
        boards: Boards::new(2, config.databases as usize, TABLE.len()),
        config: ConfigCell::new(config),
        commands: LazyLock::force(&TABLE),
        log: Log::new(None, Level::Nothing, Clock::System),
        clock: Clock::System,
        run_id: "a".repeat(40),
        paths: ["/bin/annulet".to_owned(), String::new()],
        memory: ProcessMemory::open().expect("/proc can be read"),
    }));
    http::start(&process, &process.config.snapshot()).expect("the port is free");
    port
}

/// Returns requests from parts of valid ones, damaged now and then.
fn requests(random: &mut Random) -> Vec<u8> {
    let lines: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"GET /metrics HTTP/1.1\r\n",
        b"HEAD http://localhost/healthz?x HTTP/1.0\r\n",
        b"POST / HTTP/1.1\r\n",
        b"Host: localhost\r\n",
        b"Host: evil.example\r\n",
        b"Authorization: Basic ZGVmYXVsdDpwYXNz\r\n",
        b"Authorization: Basic ZGVmYXVsdDp3cm9uZw==\r\n",
        b"Authorization: Bearer pass\r\n",
        b"Authorization: Basic \xff\xfe=\r\n",
        b"Connection: keep-alive\r\n",
        b"Content-Length: 18446744073709551616\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b" folded: line\r\n",
        b"\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ];
    let mut bytes = Vec::new();
    for at in 0..random.below(14) {
        bytes.extend_from_slice(lines[random.below(if at == 0 { 4 } else { lines.len() })]);
    }
    for _ in 0..random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(3) {
            0 => bytes.insert(at, random.next() as u8),
            1 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at, b"x: y\r\n".repeat(random.below(3_000)))),
        }
    }
    bytes
}

/// Sends bytes in pieces and ends. Returns all that the port has answered.
fn answers(port: u16, random: &mut Random, mut bytes: &[u8]) -> Vec<u8> {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    peer.set_nodelay(true).expect("it is a TCP socket");
    peer.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let pieces = 1 + random.below(4);
    for left in (1..=pieces).rev() {
        let (piece, rest) = bytes.split_at(bytes.len() / left);
        bytes = rest;
        // The port may have closed the connection already.
        if peer.write_all(piece).is_err() {
            break;
        }
    }
    let _ = peer.shutdown(Shutdown::Write);
    let mut found = Vec::new();
    if let Err(error) = peer.read_to_end(&mut found) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no hang");
    }
    found
}

#[test]
fn http_requests() {
    let port = serve();
    target("http_requests", 150, |random| {
        let bytes = requests(random);
        let shown = answers(port, random, &bytes);
        let mut rest = &shown[..];
        while !rest.is_empty() {
            assert!(rest.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(rest));
            let has_password = bytes.windows(20).any(|part| part == b"ZGVmYXVsdDpwYXNz\r\n\r\n")
                || bytes.windows(16).any(|part| part == b"ZGVmYXVsdDpwYXNz")
                || bytes.windows(11).any(|part| part == b"Bearer pass");
            assert!(
                has_password || !rest.starts_with(b"HTTP/1.1 200"),
                "nobody without a password"
            );
            let next = rest[1..].windows(9).position(|part| part == b"HTTP/1.1 ");
            rest = next.map_or(&[], |at| &rest[at + 1..]);
        }
        let valid = answers(port, random, VALID);
        assert!(valid.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(&valid));
        assert!(!valid.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&valid));
    });
}
