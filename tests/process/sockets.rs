//! Bare sockets: input that no well-behaved client library sends.

use super::server::{Server, wait_for};
use super::wire::{Wire, request};
use super::{crowd, on_each_setup};
use std::io::BufReader;
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

#[test]
fn inline_commands() {
    on_each_setup(&[], |server| {
        let mut wire = Wire::connect(server.port);
        wire.write("PING\r\n");
        assert_eq!(wire.line(), "+PONG");
        wire.write("\r\n\nSET key \"two args\"\nGET key\r\n");
        assert_eq!(wire.line(), "+OK");
        assert_eq!(wire.reply(), "two args");
        wire.write("SET key \"open\r\n");
        assert_eq!(wire.line(), "-ERR Protocol error: unbalanced quotes in request");
        assert_eq!(wire.rest(), "");
    });
}

#[test]
fn a_command_may_come_in_any_pieces() {
    on_each_setup(&[], |server| {
        let mut wire = Wire::connect(server.port);
        let mut bytes = request(&["SET", "key", "a value\r\nof two lines"]);
        bytes.extend(request(&["GET", "key"]));
        for byte in &bytes {
            wire.write([*byte]);
            thread::sleep(Duration::from_micros(200));
        }
        assert_eq!(wire.line(), "+OK");
        assert_eq!(wire.reply(), "a value\r\nof two lines");
        for cut in 1..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            wire.write(head);
            thread::sleep(Duration::from_micros(500));
            wire.write(tail);
            assert_eq!(wire.line(), "+OK");
            assert_eq!(wire.reply(), "a value\r\nof two lines");
        }
    });
}

#[test]
fn protocol_errors_close_the_connection_after_earlier_replies() {
    let cases = [
        ("*1\r\n+PING\r\n", "-ERR Protocol error: expected '$', got '+'"),
        ("*abc\r\n", "-ERR Protocol error: invalid multibulk length"),
        ("*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length"),
        ("*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length"),
    ];
    on_each_setup(&[], |server| {
        for (bytes, error) in cases {
            let mut wire = Wire::connect(server.port);
            wire.write(request(&["SET", "key", "value"]));
            wire.write(request(&["MGET", "key", "absent"]));
            wire.write(bytes);
            assert_eq!(wire.line(), "+OK");
            assert_eq!(wire.reply(), "[value, (nil)]");
            assert_eq!(wire.line(), error, "{bytes:?}");
            assert_eq!(wire.rest(), "", "{bytes:?}");
        }
        assert_eq!(Wire::connect(server.port).ask(&["PING"]), "+PONG");
    });
}

/// A page in a browser must not make the browser send commands.
#[test]
fn http_requests_close_the_connection_without_a_reply() {
    on_each_setup(&[], |server| {
        for line in ["POST / HTTP/1.1", "Host: here", "host: there"] {
            let mut wire = Wire::connect(server.port);
            wire.write(format!("{line}\r\nSET key value\r\n"));
            assert_eq!(wire.rest(), "", "{line}");
        }
        assert!(wait_for(|| server.logged("Possible SECURITY ATTACK detected.")));
        assert_eq!(Wire::connect(server.port).ask(&["EXISTS", "key"]), ":0");
    });
}

#[test]
fn quit_ends_the_connection_and_drops_what_follows() {
    on_each_setup(&[], |server| {
        let mut wire = Wire::connect(server.port);
        wire.write(request(&["SET", "key", "before"]));
        wire.write(request(&["QUIT"]));
        wire.write(request(&["SET", "key", "after"]));
        assert_eq!(wire.rest(), "+OK\r\n+OK\r\n");
        assert_eq!(Wire::connect(server.port).ask(&["GET", "key"]), "before");
    });
}

#[test]
fn a_client_that_stops_sending_still_gets_all_replies() {
    on_each_setup(&[], |server| {
        for mut wire in crowd(server) {
            let mut expected = String::new();
            for n in 0..500 {
                wire.write(request(&["SET", &format!("key:{n}"), &n.to_string()]));
                wire.write(request(&["MGET", &format!("key:{n}"), "absent"]));
                let len = n.to_string().len();
                expected += &format!("+OK\r\n*2\r\n${len}\r\n{n}\r\n$-1\r\n");
            }
            wire.stream.get_ref().shutdown(Shutdown::Write).expect("the socket is connected");
            assert_eq!(wire.rest(), expected);
        }
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_command_is_removed() {
    on_each_setup(&[], |server| {
        for wire in &mut crowd(server) {
            wire.write("*2\r\n$3\r\nGET\r\n$1000\r\nabc");
        }
        let mut wire = Wire::connect(server.port);
        let one = |list: String| list.lines().count() == 1;
        assert!(wait_for(|| one(wire.ask(&["CLIENT", "LIST"]))), "the other clients are removed");
        wire.write(request(&["PING"]).repeat(3));
        assert_eq!([wire.line(), wire.line(), wire.line()], ["+PONG"; 3]);
    });
}

#[test]
fn the_unix_socket() {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("annulet-test-{}.sock", std::process::id()));
    let name = path.to_str().expect("the folder for temporary files has a plain name");
    // Only root may give a file to a group that it is not a member of.
    let is_root = std::fs::metadata("/proc/self").expect("it is there").uid() == 0;
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let daemon = groups.lines().find_map(|line| line.strip_prefix("daemon:x:")?.split(':').next());
    let group = if is_root && daemon.is_some() { "daemon" } else { "" };
    let options = ["--unixsocket", name, "--unixsocketperm", "700", "--unixsocketgroup", group];
    on_each_setup(&options, |server| {
        assert!(wait_for(|| server.logged("Ready to accept connections unix")));
        let mode = std::fs::metadata(&path).expect("the socket is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        if !group.is_empty() {
            let id = std::fs::metadata(&path).expect("the socket is there").gid().to_string();
            assert_eq!(Some(id.as_str()), daemon);
        }
        let connect = || UnixStream::connect(&path).expect("the server accepts");
        let mut wires: Vec<_> =
            (0..5).map(|_| Wire { stream: BufReader::new(connect()) }).collect();
        for (n, wire) in wires.iter_mut().enumerate() {
            assert_eq!(wire.ask(&["SET", &format!("key:{n}"), "by unix"]), "+OK");
        }
        assert_eq!(Wire::connect(server.port).ask(&["GET", "key:4"]), "by unix");
        let list = wires[0].ask(&["CLIENT", "LIST"]);
        assert!(list.contains(&format!("addr={name}:0")), "{list}");
    });
}

#[test]
fn many_keys_over_all_shards_in_one_pipeline() {
    on_each_setup(&[], |server: &Server| {
        let mut wires = crowd(server);
        for (n, wire) in wires.iter_mut().enumerate() {
            let args: Vec<String> = (0..200).map(|k| format!("key:{n}:{k}")).collect();
            let mut set = vec!["MSET"];
            args.iter().for_each(|arg| set.extend([arg.as_str(), arg.as_str()]));
            let get: Vec<&str> = ["MGET"].into_iter().chain(args.iter().map(|w| &**w)).collect();
            wire.write([request(&set), request(&get), request(&["PING"])].concat());
        }
        for (n, wire) in wires.iter_mut().enumerate() {
            let args: Vec<String> = (0..200).map(|k| format!("key:{n}:{k}")).collect();
            assert_eq!(wire.line(), "+OK");
            assert_eq!(wire.reply(), format!("[{}]", args.join(", ")));
            assert_eq!(wire.line(), "+PONG");
        }
    });
}
