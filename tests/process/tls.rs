//! TLS: commands, certificates of both sides, broken handshakes, and changes at run time.

use super::certificates::{Certificates, NO_URIS};
use super::server::{PATIENCE, Server, Setup, free_port, wait_for};
use super::setups;
use super::wire::{Wire, info_field, request};
use annulet::base::rng::Rng;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, version};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

/// A connection by TLS.
pub type TlsWire = Wire<StreamOwned<ClientConnection, TcpStream>>;

/// Connects by TLS, without a handshake yet.
pub fn connect(port: u16, config: &Arc<ClientConfig>) -> TlsWire {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
    stream.set_nodelay(true).expect("it is a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a connection");
    Wire { stream: BufReader::new(StreamOwned::new(connection, stream)) }
}

/// Returns the reply to PING, or what prevents it.
fn ping(port: u16, config: &Arc<ClientConfig>) -> Result<String, std::io::Error> {
    let mut wire = connect(port, config);
    wire.stream.get_mut().write_all(b"PING\r\n")?;
    let mut line = String::new();
    match wire.stream.read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// A server that speaks TLS on one of its ports.
struct Secured {
    server: Server,
    port: u16,
    files: Certificates,
}

impl Secured {
    fn start(setup: Setup, arguments: &[&str]) -> Secured {
        let (port, files) = (free_port(), Certificates::new());
        let options = files.options(port);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let server = Server::start(setup, &[&options, arguments].concat());
        assert!(wait_for(|| server.logged("Ready to accept connections tls")));
        Secured { server, port, files }
    }

    /// Connects with the client's certificate.
    fn connect(&self) -> TlsWire {
        connect(self.port, &self.files.client(Some("client")))
    }

    fn plain(&self) -> Wire {
        Wire::connect(self.server.port)
    }

    fn pings(&self, name: Option<&str>) -> bool {
        ping(self.port, &self.files.client(name)).is_ok_and(|reply| reply == "+PONG")
    }
}

fn on_each(arguments: &[&str], test: impl Fn(&Secured)) {
    for setup in setups() {
        println!("{setup:?}");
        test(&Secured::start(setup, arguments));
    }
}

/// Returns a server for tests that do not depend on the setup.
fn one(arguments: &[&str]) -> Secured {
    Secured::start(Setup { shards: 2, driver: "epoll" }, arguments)
}

#[test]
fn commands_run_by_tls_of_either_version() {
    on_each(&[], |secured| {
        for versions in [[&version::TLS12], [&version::TLS13]] {
            let config = secured.files.client_of(Some("client"), &versions);
            let mut wires: Vec<TlsWire> = (0..6).map(|_| connect(secured.port, &config)).collect();
            for (n, wire) in wires.iter_mut().enumerate() {
                let key = format!("key:{n}");
                assert_eq!(wire.ask(&["SET", &key, "value"]), "+OK");
                wire.write(request(&["GET", &key]).repeat(1_000));
                for _ in 0..1_000 {
                    assert_eq!(wire.reply(), "value");
                }
                assert_eq!(wire.ask(&["MGET", "key:0", &key]), "[value, value]");
            }
            let spoken = wires[0].stream.get_ref().conn.protocol_version();
            assert_eq!(spoken, Some(versions[0].version));
        }
        let info = secured.plain().ask(&["INFO", "server"]);
        let listener = format!("listener2:name=tls,bind=127.0.0.1,port={}\r\n", secured.port);
        assert!(info.contains(&listener), "{info}");
        let info = secured.plain().ask(&["INFO", "tls"]);
        assert!(!info.contains("tls_server_cert_serial:none"), "{info}");
        assert!(info.contains("tls_client_cert_serial:none"), "{info}");
        assert!(info_field(&info, "tls_ca_cert_expires_in_seconds") > Some(0), "{info}");
    });
}

#[test]
fn pushes_and_blocked_commands_reach_their_clients() {
    on_each(&[], |secured| {
        let (mut waiting, mut listening) = (secured.connect(), secured.connect());
        let (mut watching, mut acting) = (secured.connect(), secured.plain());
        assert_eq!(watching.ask(&["MONITOR"]), "+OK");
        assert_eq!(listening.ask(&["SUBSCRIBE", "news"]), "[subscribe, news, :1]");
        waiting.send(&["BLPOP", "list", "0"]);
        let is_blocked =
            |wire: &mut Wire| wire.ask(&["INFO", "clients"]).contains("blocked_clients:1");
        assert!(wait_for(|| is_blocked(&mut acting)));
        assert_eq!(acting.ask(&["RPUSH", "list", "item"]), ":1");
        assert_eq!(waiting.reply(), "[list, item]");
        assert_eq!(acting.ask(&["PUBLISH", "news", "text"]), ":1");
        assert_eq!(listening.reply(), "[message, news, text]");
        while !watching.line().contains("\"PUBLISH\" \"news\" \"text\"") {}
    });
}

#[test]
fn large_values_travel_both_ways() {
    on_each(&["--proto-max-bulk-len", "60mb"], |secured| {
        let value = "0123456789abcdef".repeat(50 << 16);
        let mut wire = secured.connect();
        assert_eq!(wire.ask(&["SET", "key", &value]), "+OK");
        assert!(wire.ask(&["GET", "key"]) == value, "the value is the same");
        // A client that does not read bounds what is encrypted for it.
        let mut slow = secured.connect();
        slow.write(request(&["GET", "key"]).repeat(4));
        let bytes = |wire: &mut Wire| {
            let list = wire.ask(&["CLIENT", "LIST"]);
            let total = |line: &str| {
                let text = line.split(" tot-mem=").nth(1)?.split(' ').next()?;
                text.parse::<usize>().ok()
            };
            list.lines().filter_map(total).max()
        };
        let mut plain = secured.plain();
        assert!(wait_for(|| bytes(&mut plain) > Some(140 << 20)), "4 replies are under way");
        let used = info_field(&plain.ask(&["INFO", "memory"]), "used_memory");
        assert!(used < Some(130 << 20), "the replies share the value: {used:?}");
        for _ in 0..4 {
            assert!(slow.reply() == value, "the value is the same");
        }
    });
}

#[test]
fn clients_need_certificates_as_the_setting_says() {
    on_each(&[], |secured| {
        let strangers = Certificates::new();
        let stranger = {
            // It knows the server's authority, but its own certificate is another authority's.
            std::fs::copy(strangers.path("client.crt"), secured.files.path("stranger.crt"))
                .expect("a copy");
            std::fs::copy(strangers.path("client.key"), secured.files.path("stranger.key"))
                .expect("a copy");
            Some("stranger")
        };
        let mut wire = secured.plain();
        for (setting, expected) in
            [("yes", [true, false, false]), ("optional", [true, true, false]), ("no", [true; 3])]
        {
            assert_eq!(wire.ask(&["CONFIG", "SET", "tls-auth-clients", setting]), "+OK");
            let found = [Some("client"), None, stranger].map(|name| secured.pings(name));
            assert_eq!(found, expected, "{setting}");
        }
        let line = "# Error accepting a client connection: peer sent no certificates (addr=127.";
        assert!(wait_for(|| secured.server.logged(line)));
        assert!(wait_for(|| secured.server.logged("invalid peer certificate: BadSignature")));
    });
}

#[test]
fn bytes_that_are_no_tls_end_the_connection() {
    on_each(&[], |secured| {
        let no_records = [&b"PING\r\n"[..], b"GET / HTTP/1.0\r\n\r\n", &[0; 600], &[0xff; 70_000]];
        for bytes in no_records.into_iter().chain([&[22; 600][..]]) {
            let mut stream = TcpStream::connect(("127.0.0.1", secured.port)).expect("it accepts");
            stream.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
            // The server may have closed it before all is written.
            let _ = stream.write_all(bytes);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            // An alert has content type, version, length, and two bytes.
            assert_eq!(rest.len(), if bytes[0] == 22 { 7 } else { 0 }, "{rest:?}");
        }
        let line = "# Error accepting a client connection: the peer does not speak TLS (addr=";
        assert!(wait_for(|| secured.server.logged(line)));
        assert!(secured.pings(Some("client")));
    });
}

/// Returns the first bytes of a client: its hello.
fn hello(secured: &Secured) -> Vec<u8> {
    let mut wire = secured.connect();
    let mut bytes = Vec::new();
    wire.stream.get_mut().conn.write_tls(&mut bytes).expect("writing to memory does not fail");
    bytes
}

#[test]
fn peers_that_vanish_in_their_handshakes_are_removed() {
    on_each(&[], |secured| {
        let hello = hello(secured);
        let mut rng = Rng::new(7);
        let mut streams = Vec::new();
        for n in 0..100 {
            let stream = TcpStream::connect(("127.0.0.1", secured.port)).expect("it accepts");
            let mut bytes = hello.clone();
            bytes.truncate(rng.below(hello.len() as u64 + 1) as usize);
            if n % 3 == 0 && !bytes.is_empty() {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
            let _ = (&stream).write_all(&bytes);
            if n % 2 == 0 {
                streams.push(stream);
            }
        }
        assert!(secured.pings(Some("client")), "others are served meanwhile");
        drop(streams);
        let mut wire = secured.plain();
        let one = |list: String| list.lines().count() == 1;
        assert!(wait_for(|| one(wire.ask(&["CLIENT", "LIST"]))), "all others are removed");
    });
}

#[test]
fn a_handshake_that_does_not_go_on_is_ended() {
    let secured = one(&[]);
    let mut slow = TcpStream::connect(("127.0.0.1", secured.port)).expect("it accepts");
    slow.write_all(&hello(&secured)[..40]).expect("the server takes bytes");
    slow.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    assert_eq!(slow.read(&mut [0; 10]).expect("it is closed in time"), 0);
    let line = "connection: its TLS handshake took too long (addr=127.";
    assert!(wait_for(|| secured.server.logged(line)));
}

#[test]
fn a_client_that_sends_no_more_gets_its_replies() {
    on_each(&[], |secured| {
        let mut wire = secured.connect();
        wire.write(request(&["PING"]).repeat(500));
        wire.stream.get_mut().conn.send_close_notify();
        wire.stream.get_mut().flush().expect("the server takes bytes");
        let mut rest = String::new();
        // The server says that nothing follows, or this would be an error.
        wire.stream.read_to_string(&mut rest).expect("an orderly end");
        assert_eq!(rest, "+PONG\r\n".repeat(500));
    });
}

#[test]
fn certificates_change_while_connections_stay() {
    on_each(&["--tls-auth-clients", "no"], |secured| {
        let (mut old, files) = (secured.connect(), &secured.files);
        assert_eq!(old.ask(&["PING"]), "+PONG");
        let first = seen(&old);
        files.issue("second", "second", NO_URIS);
        let set = |wire: &mut TlsWire, cert: &str, key: &str| {
            let (cert, key) = (files.path(cert), files.path(key));
            wire.ask(&["CONFIG", "SET", "tls-cert-file", &cert, "tls-key-file", &key])
        };
        assert_eq!(set(&mut old, "second.crt", "second.key"), "+OK");
        assert_eq!((old.ask(&["PING"]), seen(&old)), ("+PONG".to_owned(), first.clone()));
        let mut new = secured.connect();
        assert_eq!(new.ask(&["PING"]), "+PONG");
        let second = seen(&new);
        assert_ne!(first, second);
        for (cert, key) in
            [("second.crt", "server.key"), ("ca.key", "ca.key"), ("missing", "second.key")]
        {
            let refused = set(&mut old, cert, key);
            let reason = "Unable to update TLS configuration. Check server logs.";
            assert!(refused.ends_with(reason), "{refused}");
            let name = old.ask(&["CONFIG", "GET", "tls-cert-file"]);
            assert_eq!(name, format!("[tls-cert-file, {}]", files.path("second.crt")));
            let mut third = secured.connect();
            assert_eq!((third.ask(&["PING"]), seen(&third)), ("+PONG".to_owned(), second.clone()));
        }
        // The same name again loads the file again.
        files.issue("second", "third", NO_URIS);
        assert_eq!(set(&mut old, "second.crt", "second.key"), "+OK");
        let mut third = secured.connect();
        assert_eq!(third.ask(&["PING"]), "+PONG");
        assert_ne!(seen(&third), second);
    });
}

/// Returns the certificate that a client has seen.
fn seen(wire: &TlsWire) -> Vec<u8> {
    let certificates = wire.stream.get_ref().conn.peer_certificates().expect("a handshake");
    certificates[0].to_vec()
}

#[test]
fn keys_may_have_a_passphrase() {
    on_each(&[], |secured| {
        let (mut wire, key) = (secured.plain(), secured.files.path("secret.key"));
        secured.files.encrypt("server", "secret", "1234");
        let refused = wire.ask(&["CONFIG", "SET", "tls-key-file", &key]);
        assert!(refused.contains("Unable to update TLS configuration"), "{refused}");
        assert!(wait_for(|| secured.server.logged("the key is encrypted, and no passphrase")));
        let set = |wire: &mut Wire, pass: &str| {
            wire.ask(&["CONFIG", "SET", "tls-key-file", &key, "tls-key-file-pass", pass])
        };
        assert!(set(&mut wire, "12345").contains("Unable to update TLS configuration"));
        assert!(wait_for(|| secured.server.logged("the passphrase is wrong")));
        assert_eq!(set(&mut wire, "1234"), "+OK");
        assert!(secured.pings(Some("client")));
        assert!(!secured.server.log().contains("1234"), "a passphrase is in no log");
    });
}

#[test]
fn changed_files_are_loaded_after_the_interval() {
    let secured = one(&["--tls-auto-reload-interval", "1", "--loglevel", "debug"]);
    assert!(wait_for(|| secured.server.logged("TLS reload skipped: materials unchanged")));
    let mut old = secured.connect();
    assert_eq!(old.ask(&["PING"]), "+PONG");
    secured.files.issue("server", "another", NO_URIS);
    assert!(wait_for(|| secured.server.logged("TLS materials reloaded successfully")));
    let mut new = secured.connect();
    assert_eq!((new.ask(&["PING"]), old.ask(&["PING"])), ("+PONG".into(), "+PONG".into()));
    assert_ne!(seen(&old), seen(&new));
    std::fs::write(secured.files.path("server.crt"), "no certificate").expect("a file");
    assert!(wait_for(|| secured.server.logged("Background TLS reload failed")));
    assert!(secured.pings(Some("client")));
}

#[test]
fn a_port_changes_between_plain_and_tls() {
    on_each(&[], |secured| {
        let (mut wire, port) = (secured.connect(), secured.port.to_string());
        assert_eq!(wire.ask(&["CONFIG", "SET", "tls-port", "0"]), "+OK");
        assert_eq!(wire.ask(&["CONFIG", "SET", "port", &port]), "+OK");
        assert_eq!(Wire::connect(secured.port).ask(&["PING"]), "+PONG");
        let info = wire.ask(&["INFO", "tls"]);
        assert!(info.contains("tls_server_cert_serial:none\r\n"), "{info}");
        assert_eq!(wire.ask(&["CONFIG", "SET", "port", "0", "tls-port", &port]), "+OK");
        assert!(secured.pings(Some("client")));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let taken_port = taken.local_addr().expect("it is bound").port().to_string();
        let refused = wire.ask(&["CONFIG", "SET", "tls-port", &taken_port]);
        assert!(
            refused.ends_with("Unable to listen on this port. Check server logs."),
            "{refused}"
        );
        assert!(secured.pings(Some("client")));
    });
}

#[test]
fn output_by_tls_can_be_held_by_debug() {
    on_each(&["--enable-debug-command", "yes"], |secured| {
        let (mut admin, mut wire) = (secured.plain(), secured.connect());
        assert_eq!(admin.ask(&["SET", "large", &"v".repeat(1_000_000)]), "+OK");
        assert_eq!(wire.ask(&["PING"]), "+PONG");
        let id = wire.ask(&["CLIENT", "ID"]);
        assert_eq!(admin.ask(&["DEBUG", "FORCE-TLS-WRITE-ERROR", "1"]), "+OK");
        for _ in 0..3 {
            wire.send(&["GET", "large"]);
        }
        let mut unsent = || {
            let line = admin.ask(&["CLIENT", "LIST", "ID", &id[1..]]);
            let field = line.split(' ').find_map(|field| field.strip_prefix("omem="));
            field.expect("a field").parse::<usize>().expect("a number")
        };
        assert!(wait_for(|| unsent() >= 3_000_000));
        assert_eq!(admin.ask(&["PING"]), "+PONG", "plain connections go on");
        let two = admin.ask(&["DEBUG", "FORCE-TLS-WRITE-ERROR", "2"]);
        assert_eq!(two, "-ERR Value must be 0 or 1");
        assert_eq!(admin.ask(&["DEBUG", "FORCE-TLS-WRITE-ERROR", "0"]), "+OK");
        for _ in 0..3 {
            assert_eq!(wire.reply().len(), 1_000_000);
        }
        // A held connection may be killed.
        assert_eq!(admin.ask(&["DEBUG", "FORCE-TLS-WRITE-ERROR", "1"]), "+OK");
        wire.send(&["GET", "large"]);
        assert_eq!(admin.ask(&["CLIENT", "KILL", "ID", &id[1..]]), ":1");
        assert!(wait_for(|| admin.ask(&["CLIENT", "LIST", "ID", &id[1..]]).is_empty()));
        assert_eq!(admin.ask(&["DEBUG", "FORCE-TLS-WRITE-ERROR", "0"]), "+OK");
    });
}

#[test]
fn certificates_name_users() {
    on_each(&[], |secured| {
        let mut admin = secured.plain();
        for user in ["client", "urn:first", "urn:second"] {
            assert_eq!(admin.ask(&["ACL", "SETUSER", user, "on", "+@all"]), "+OK");
        }
        secured.files.issue("uris", "nobody", &["urn:none", "urn:first", "urn:second"]);
        secured.files.issue("nul", "client\0other", NO_URIS);
        let who = |name: &str| {
            let config = secured.files.client(Some(name));
            connect(secured.port, &config).ask(&["ACL", "WHOAMI"])
        };
        assert_eq!(who("client"), "default");
        admin.ask(&["CONFIG", "SET", "tls-auth-clients-user", "CN"]);
        assert_eq!((who("client"), who("nul")), ("client".into(), "default".into()));
        assert_eq!(who("uris"), "default");
        admin.ask(&["CONFIG", "SET", "tls-auth-clients-user", "URI"]);
        assert_eq!((who("uris"), who("client")), ("urn:first".into(), "default".into()));
        admin.ask(&["ACL", "SETUSER", "urn:first", "off"]);
        assert_eq!(who("uris"), "urn:second");
        let info = admin.ask(&["INFO", "stats"]);
        assert_eq!(info_field(&info, "acl_access_denied_tls_cert"), Some(2), "{info}");
        let log = admin.ask(&["ACL", "LOG"]);
        let entry = "reason, tls-cert, context, toplevel, object, , username, nobody,";
        assert!(log.contains(entry), "{log}");
    });
}

#[test]
fn sessions_are_resumed_as_the_settings_say() {
    on_each(&["--tls-auth-clients-user", "CN"], |secured| {
        let mut admin = secured.plain();
        admin.ask(&["ACL", "SETUSER", "client", "on", "+@all"]);
        for versions in [[&version::TLS12], [&version::TLS13]] {
            let config = secured.files.client_of(Some("client"), &versions);
            let kind = || {
                let mut wire = connect(secured.port, &config);
                // A session keeps the certificate, and so the user.
                assert_eq!(wire.ask(&["ACL", "WHOAMI"]), "client");
                wire.stream.get_ref().conn.handshake_kind().expect("it is complete")
            };
            assert_ne!(kind(), HandshakeKind::Resumed);
            assert_eq!([kind(), kind()], [HandshakeKind::Resumed; 2]);
            // No session outlives a change of the rules.
            assert_eq!(admin.ask(&["CONFIG", "SET", "tls-session-cache-size", "100"]), "+OK");
            assert_eq!(admin.ask(&["CONFIG", "SET", "tls-session-cache-size", "10"]), "+OK");
            assert_eq!([kind(), kind()], [HandshakeKind::Full, HandshakeKind::Resumed]);
            assert_eq!(admin.ask(&["CONFIG", "SET", "tls-session-caching", "no"]), "+OK");
            assert_eq!([kind(), kind()], [HandshakeKind::Full; 2]);
            assert_eq!(admin.ask(&["CONFIG", "SET", "tls-session-caching", "yes"]), "+OK");
            assert_eq!([kind(), kind()], [HandshakeKind::Full, HandshakeKind::Resumed]);
            let timeout = ["CONFIG", "SET", "tls-session-cache-timeout", "0"];
            assert_eq!(admin.ask(&timeout), "+OK");
            assert_eq!([kind(), kind()], [HandshakeKind::Full; 2]);
            assert_eq!(admin.ask(&["CONFIG", "SET", "tls-session-cache-timeout", "300"]), "+OK");
        }
    });
}

#[test]
fn a_replica_follows_by_tls() {
    on_each(&["--repl-diskless-sync-delay", "0"], |secured| {
        let value = "v".repeat(300_000);
        let mut plain = secured.plain();
        for n in 0..20 {
            assert_eq!(plain.ask(&["SET", &format!("key:{n}"), &value]), "+OK");
        }
        let mut replica = secured.connect();
        assert_eq!(replica.ask(&["REPLCONF", "capa", "eof", "capa", "psync2"]), "+OK");
        replica.send(&["PSYNC", "?", "-1"]);
        while !replica.line().starts_with("+FULLRESYNC ") {}
        let mut head = replica.line();
        while head.is_empty() {
            head = replica.line();
        }
        let mark = head.strip_prefix("$EOF:").map(|mark| mark.as_bytes().to_vec());
        let len = head.trim_start_matches('$').parse::<usize>().unwrap_or(usize::MAX);
        let mut file = Vec::new();
        let is_whole = |file: &[u8]| match &mark {
            Some(mark) => file.ends_with(mark),
            None => file.len() == len,
        };
        while !is_whole(&file) {
            let mut byte = [0];
            replica.stream.read_exact(&mut byte).expect("the snapshot comes");
            file.push(byte[0]);
        }
        assert!(file.starts_with(b"REDIS"));
        replica.send(&["REPLCONF", "ACK", "0"]);
        assert_eq!(plain.ask(&["SET", "later", "here"]), "+OK");
        while !replica.line().contains("later") {}
        let info = plain.ask(&["INFO", "replication"]);
        assert!(info.contains("connected_slaves:1"), "{info}");
    });
}

#[test]
fn many_handshakes_at_once_leave_others_served() {
    on_each(&[], |secured| {
        let mut wire = secured.connect();
        assert_eq!(wire.ask(&["PING"]), "+PONG");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        assert!(secured.pings(Some("client")));
                    }
                });
            }
            for _ in 0..500 {
                assert_eq!(wire.ask(&["PING"]), "+PONG");
            }
        });
    });
}

#[test]
fn a_server_without_its_files_does_not_start() {
    let files = Certificates::new();
    let (cert, key, ca) =
        (files.path("server.crt"), files.path("server.key"), files.path("ca.crt"));
    let wrong = files.path("client.key");
    let missing = files.path("missing");
    let cases: [(&[&str], &str); 7] = [
        (&[], "No tls-cert-file configured!"),
        (&["--tls-cert-file", &cert], "No tls-key-file configured!"),
        (&["--tls-cert-file", &cert, "--tls-key-file", &key], "Either tls-ca-cert-file or"),
        (
            &["--tls-cert-file", &missing, "--tls-key-file", &key, "--tls-ca-cert-file", &ca],
            "missing: No such file or directory",
        ),
        (
            &["--tls-cert-file", &cert, "--tls-key-file", &wrong, "--tls-ca-cert-file", &ca],
            "key values mismatch",
        ),
        (
            &[
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
                "--tls-auth-clients",
                "no",
                "--tls-ciphers",
                "FOO",
            ],
            "Failed to configure ciphers: FOO",
        ),
        (
            &[
                "--tls-cert-file",
                &cert,
                "--tls-key-file",
                &key,
                "--tls-auth-clients",
                "no",
                "--tls-protocols",
                "TLSv1",
            ],
            "Only 'TLSv1.2' and 'TLSv1.3' of tls-protocols are supported.",
        ),
    ];
    for (arguments, line) in cases {
        let port = free_port().to_string();
        let arguments = [&["--tls-port", &port], arguments].concat();
        let setup = Setup { shards: 1, driver: "epoll" };
        let mut server = Server::launch(setup, free_port(), &arguments, Stdio::null());
        assert!(wait_for(|| server.is_over()), "{arguments:?}");
        let log = server.log();
        assert!(log.contains(line), "{line}: {log}");
        assert!(log.contains("Failed to configure TLS. Check logs for more info."), "{log}");
    }
}
