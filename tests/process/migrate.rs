//! MIGRATE between processes.

use super::certificates::Certificates;
use super::server::{Server, Setup, free_port, wait_for};
use super::wire::Wire;
use super::{crowd, setups};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

/// Keys in many slots, with values of all sizes.
const KEYS: usize = 200;

fn ask(wire: &mut Wire, line: &str) -> String {
    wire.ask(&line.split(' ').map(|arg| if arg == "''" { "" } else { arg }).collect::<Vec<_>>())
}

/// Starts two servers with some keys in the first one.
fn pair(setup: Setup, arguments: &[&str]) -> [Server; 2] {
    let source = Server::start(setup, arguments);
    let mut wire = Wire::connect(source.port);
    for number in 0..KEYS {
        let value = "x".repeat(number * 100);
        assert_eq!(wire.ask(&["SET", &format!("key:{number}"), &value]), "+OK");
    }
    assert_eq!(ask(&mut wire, "RPUSH list a b c"), ":3");
    assert_eq!(ask(&mut wire, "SET soon 1 PX 100000"), "+OK");
    [source, Server::start(Setup { shards: 3, ..setup }, &[])]
}

#[test]
fn keys_go_to_another_server() {
    for setup in setups() {
        println!("{setup:?}");
        let [source, target] = pair(setup, &[]);
        let (mut from, mut to) = (Wire::connect(source.port), Wire::connect(target.port));
        let port = target.port;
        let to_target = |rest: &str| format!("MIGRATE 127.0.0.1 {port} {rest}");
        assert_eq!(ask(&mut from, &to_target("none 0 1000")), "+NOKEY");
        assert_eq!(ask(&mut from, &to_target("list 0 1000")), "+OK");
        assert_eq!(ask(&mut from, "EXISTS list"), ":0");
        assert_eq!(ask(&mut to, "LRANGE list 0 -1"), "[a, b, c]");
        assert_eq!(ask(&mut from, &to_target("soon 3 1000 COPY")), "+OK");
        assert_eq!(ask(&mut from, "GET soon"), "1");
        let busy = "-ERR Target instance replied with error: BUSYKEY Target key name already \
                    exists.";
        assert_eq!(ask(&mut from, &to_target("soon 3 1000")), busy);
        assert_eq!(ask(&mut from, "GET soon"), "1");
        assert_eq!(ask(&mut from, &to_target("soon 3 1000 REPLACE")), "+OK");
        assert_eq!(ask(&mut from, "GET soon"), "(nil)");
        assert_eq!(ask(&mut to, "SELECT 3"), "+OK");
        let ttl: u64 = ask(&mut to, "PTTL soon").trim_start_matches(':').parse().expect("a ttl");
        assert!((1..=100_000).contains(&ttl), "{ttl}");
        assert_eq!(ask(&mut to, "SELECT 0"), "+OK");

        let all: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
        let all = all.join(" ");
        assert_eq!(ask(&mut from, &to_target(&format!("'' 0 5000 KEYS none {all} none"))), "+OK");
        assert_eq!(ask(&mut from, "DBSIZE"), ":0");
        for number in 0..KEYS {
            let shown = to.ask(&["STRLEN", &format!("key:{number}")]);
            assert_eq!(shown, format!(":{}", number * 100));
        }
        let failed = "-ERR Target instance replied with error: ERR DB index is out of range";
        assert_eq!(ask(&mut from, "SET a 1"), "+OK");
        assert_eq!(ask(&mut from, &to_target("a 99 1000")), failed);
        assert_eq!(ask(&mut from, "GET a"), "1");
        assert_eq!(ask(&mut from, &to_target("a x 1000")), NOT_A_NUMBER);
        assert_eq!(ask(&mut from, &to_target("a 0 1000 FOO")), "-ERR syntax error");
        assert_eq!(ask(&mut from, &to_target("a 0 1000 AUTH")), "-ERR syntax error");
        let keys = ask(&mut from, &to_target("a 0 1000 KEYS b"));
        assert!(keys.contains("the key argument must be set to the empty string"), "{keys}");
    }
}

const NOT_A_NUMBER: &str = "-ERR value is not an integer or out of range";

#[test]
fn the_other_server_may_want_a_password() {
    let setup = setups()[0];
    let [source, target] = pair(setup, &["--appendonly", "yes", "--enable-debug-command", "yes"]);
    let mut to = Wire::connect(target.port);
    assert_eq!(ask(&mut to, "ACL SETUSER mover on >secret ~* +@all"), "+OK");
    assert_eq!(ask(&mut to, "CONFIG SET requirepass word"), "+OK");
    let mut from = Wire::connect(source.port);
    let port = target.port;
    let mut go = |rest: &str| ask(&mut from, &format!("MIGRATE 127.0.0.1 {port} {rest}"));
    let noauth = "-ERR Target instance replied with error: NOAUTH Authentication required.";
    assert_eq!(go("key:1 0 1000"), noauth);
    let wrong = "-ERR Target instance replied with error: WRONGPASS invalid username-password \
                 pair or user is disabled.";
    assert_eq!(go("key:1 0 1000 AUTH2 mover wrong"), wrong);
    assert_eq!(go("key:1 0 1000 AUTH word"), "+OK");
    assert_eq!(go("key:2 0 1000 AUTH2 mover secret"), "+OK");
    assert_eq!(go("'' 0 1000 AUTH word KEYS key:3 key:4"), "+OK");
    assert_eq!(ask(&mut from, "DBSIZE"), format!(":{}", KEYS + 2 - 4));
    // The deletions are in the append-only file.
    assert_eq!(ask(&mut from, "DEBUG LOADAOF"), "+OK");
    assert_eq!(ask(&mut from, "DBSIZE"), format!(":{}", KEYS + 2 - 4));
}

#[test]
fn a_server_that_does_not_answer_stops_nobody_else() {
    for setup in setups() {
        println!("{setup:?}");
        let [source, _target] = pair(setup, &[]);
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = silent.local_addr().expect("it is bound").port();
        let mut from = Wire::connect(source.port);
        from.send(&["MIGRATE", "127.0.0.1", &port.to_string(), "list", "0", "1500"]);
        let (mut peer, _) = silent.accept().expect("the source connects");
        let mut bytes = [0; 16];
        peer.read_exact(&mut bytes).expect("a command comes");
        for mut wire in crowd(&source) {
            for number in 0..KEYS {
                assert_eq!(wire.ask(&["EXISTS", &format!("key:{number}")]), ":1");
            }
        }
        let lost = "-IOERR error or timeout reading to target instance";
        assert_eq!(from.reply(), lost);
        assert_eq!(ask(&mut from, "LRANGE list 0 -1"), "[a, b, c]");
        drop((silent, peer));
        let refused = ask(&mut from, &format!("MIGRATE 127.0.0.1 {port} list 0 1000"));
        assert_eq!(refused, "-IOERR error or timeout writing to target instance");
    }
}

#[test]
fn a_client_cannot_use_the_login_of_another() {
    let setup = setups()[0];
    let [source, target] = pair(setup, &[]);
    let mut to = Wire::connect(target.port);
    assert_eq!(ask(&mut to, "ACL SETUSER mover on >secret ~* +@all"), "+OK");
    assert_eq!(ask(&mut to, "CONFIG SET requirepass word"), "+OK");
    let mut from = Wire::connect(source.port);
    let port = target.port;
    let mut go = |rest: &str| ask(&mut from, &format!("MIGRATE 127.0.0.1 {port} {rest}"));
    let noauth = "-ERR Target instance replied with error: NOAUTH Authentication required.";
    // The connection is kept, but not for others.
    assert_eq!(go("key:1 0 60000 AUTH2 mover secret"), "+OK");
    assert_eq!(go("key:2 0 60000"), noauth);
    assert_eq!(go("key:2 0 60000 AUTH2 mover secret"), "+OK");
}

#[test]
fn keys_go_by_tls_too() {
    for setup in setups() {
        println!("{setup:?}");
        let (files, port) = (Certificates::new(), free_port());
        let options = files.options(port);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let target = Server::start(Setup { shards: 3, ..setup }, &options);
        assert!(wait_for(|| target.logged("Ready to accept connections tls")));
        let options: Vec<String> = files.options(free_port());
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let [source, _plain] = pair(setup, &[&options[..], &["--tls-cluster", "yes"]].concat());
        let (mut from, mut to) = (Wire::connect(source.port), Wire::connect(target.port));
        assert_eq!(from.ask(&["SET", "large", &"y".repeat(200_000)]), "+OK");
        let mut go = |rest: &str| ask(&mut from, &format!("MIGRATE 127.0.0.1 {port} {rest}"));
        assert_eq!(go("list 0 60000"), "+OK");
        assert_eq!(ask(&mut to, "LRANGE list 0 -1"), "[a, b, c]");
        assert_eq!(go("large 1 60000"), "+OK");
        assert_eq!(go("none 1 60000"), "+NOKEY");
        let all: Vec<String> = (0..20).map(|number| format!("key:{number}")).collect();
        assert_eq!(go(&format!("'' 0 60000 KEYS {}", all.join(" "))), "+OK");
        assert_eq!(ask(&mut to, "DBSIZE"), ":21");
        assert_eq!(ask(&mut to, "SELECT 1"), "+OK");
        assert_eq!(ask(&mut to, "STRLEN large"), ":200000");
        // The other side does not speak TLS, or is not trusted.
        let plain = target.port;
        let failed = "-IOERR error or timeout connecting to the client";
        assert_eq!(ask(&mut from, &format!("MIGRATE 127.0.0.1 {plain} soon 0 300")), failed);
        let stranger = Certificates::new();
        assert_eq!(
            from.ask(&["CONFIG", "SET", "tls-ca-cert-file", &stranger.path("ca.crt")]),
            "+OK"
        );
        assert_eq!(ask(&mut from, "SET more 1"), "+OK");
        assert_eq!(ask(&mut from, &format!("MIGRATE localhost {port} more 0 60000")), failed);
        assert_eq!(ask(&mut from, "GET more"), "1");
    }
}

/// A peer that sends a byte now and then does not hold keys for longer than the timeout.
#[test]
fn a_slow_reply_is_a_timeout() {
    let [source, _target] = pair(setups()[0], &[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let serving = thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("the source connects");
        // Until the source has closed the connection.
        while peer.write_all(b"x").is_ok() {
            thread::sleep(std::time::Duration::from_millis(100));
        }
    });
    let mut from = Wire::connect(source.port);
    let lost = "-IOERR error or timeout reading to target instance";
    assert_eq!(ask(&mut from, &format!("MIGRATE 127.0.0.1 {port} list 0 500")), lost);
    serving.join().expect("the connection was closed");
}

/// A peer that takes one key per connection, and closes the connection when the next one comes.
#[test]
fn a_connection_that_was_closed_is_opened_again() {
    let setup = setups()[0];
    let [source, _target] = pair(setup, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let serving = thread::spawn(move || {
        for _ in 0..3 {
            let (mut peer, _) = listener.accept().expect("the source connects");
            let mut received = Vec::new();
            while !received.windows(7).any(|window| window == b"RESTORE") {
                let mut bytes = [0; 4096];
                let count = peer.read(&mut bytes).expect("a command comes");
                received.extend_from_slice(&bytes[..count]);
            }
            peer.write_all(b"+OK\r\n+OK\r\n").expect("the source reads");
        }
    });
    let mut from = Wire::connect(source.port);
    for number in 1..=3 {
        let line = format!("MIGRATE 127.0.0.1 {port} key:{number} 0 5000");
        assert_eq!(ask(&mut from, &line), "+OK");
    }
    serving.join().expect("it has served three keys");
    assert!(wait_for(|| ask(&mut from, "DBSIZE") == format!(":{}", KEYS + 2 - 3)));
}
