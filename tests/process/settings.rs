//! CONFIG while the server runs, and INFO.

use super::server::free_port;
use super::wire::{Wire, info_field};
use super::{crowd, on_each_setup};
use std::net::{TcpListener, TcpStream};

#[test]
fn settings_are_read_and_changed_on_all_shards() {
    on_each_setup(&["--maxmemory", "100mb"], |server| {
        let mut wires = crowd(server);
        assert_eq!(wires[0].ask(&["CONFIG", "GET", "maxmemory"]), "[maxmemory, 104857600]");
        for (n, name) in ["timeout", "tcp-keepalive", "maxclients"].into_iter().enumerate() {
            let value = (100 + n).to_string();
            assert_eq!(wires[n].ask(&["CONFIG", "SET", name, &value]), "+OK");
            for wire in &mut wires {
                assert_eq!(wire.ask(&["CONFIG", "GET", name]), format!("[{name}, {value}]"));
            }
        }
        // A new password holds for all later connections, on every shard.
        assert_eq!(wires[0].ask(&["CONFIG", "SET", "requirepass", "secret"]), "+OK");
        for mut wire in crowd(server) {
            assert_eq!(wire.ask(&["GET", "key"]), "-NOAUTH Authentication required.");
        }
        assert_eq!(wires[0].ask(&["CONFIG", "SET", "requirepass", ""]), "+OK");
        assert_eq!(Wire::connect(server.port).ask(&["GET", "key"]), "(nil)");
    });
}

#[test]
fn wrong_settings_are_refused_and_change_nothing() {
    on_each_setup(&[], |server| {
        let mut wire = Wire::connect(server.port);
        let refused = wire.ask(&["CONFIG", "SET", "timeout", "many"]);
        assert!(refused.starts_with("-ERR CONFIG SET failed (possibly related to"), "{refused}");
        let refused = wire.ask(&["CONFIG", "SET", "timeout", "5", "shards", "9"]);
        assert!(refused.contains("can't set immutable config"), "{refused}");
        assert_eq!(wire.ask(&["CONFIG", "GET", "timeout"]), "[timeout, 0]");
        let unknown = wire.ask(&["CONFIG", "SET", "no-such-setting", "5"]);
        assert!(unknown.starts_with("-ERR Unknown option or number of arguments"), "{unknown}");
    });
}

#[test]
fn scripts_get_getfenv_by_a_setting() {
    on_each_setup(&["--enable-protected-configs", "yes"], |server| {
        let mut wire = Wire::connect(server.port);
        let script = "local _, found = pcall(function() return getfenv end) return type(found)";
        let names = ["EVAL", script, "0"];
        let sha = wire.ask(&["SCRIPT", "LOAD", "return 1"]);
        assert_eq!(wire.ask(&names), "string", "the text of an error");
        for name in ["lua-enable-insecure-api", "lua-enable-deprecated-api"] {
            assert_eq!(wire.ask(&["CONFIG", "SET", name, "yes"]), "+OK");
            assert_eq!(wire.ask(&names), "function");
            assert_eq!(wire.ask(&["SCRIPT", "EXISTS", &sha]), "[:0]");
            let script = "setfenv(1, {b = 5}) return b";
            assert_eq!(wire.ask(&["EVAL", script, "0"]), ":5");
            assert_eq!(wire.ask(&["CONFIG", "SET", name, "no"]), "+OK");
            assert_eq!(wire.ask(&names), "string");
        }
    });
}

#[test]
fn protected_mode_is_shown_and_allows_local_clients() {
    on_each_setup(&["--protected-mode", "yes"], |server| {
        let mut wire = Wire::connect(server.port);
        assert_eq!(wire.ask(&["CONFIG", "GET", "protected-mode"]), "[protected-mode, yes]");
        assert_eq!(wire.ask(&["CONFIG", "SET", "protected-mode", "no"]), "+OK");
        assert_eq!(wire.ask(&["CONFIG", "GET", "protected-mode"]), "[protected-mode, no]");
    });
}

#[test]
fn info_sums_over_all_shards() {
    on_each_setup(&[], |server| {
        for (n, wire) in crowd(server).iter_mut().enumerate() {
            for k in 0..20 {
                assert_eq!(wire.ask(&["SET", &format!("key:{n}:{k}"), "value"]), "+OK");
            }
        }
        let mut wire = Wire::connect(server.port);
        let info = wire.ask(&["INFO"]);
        let field = |name| info_field(&info, name);
        assert_eq!(field("process_id"), Some(u64::from(server.child.id())));
        assert_eq!(field("tcp_port"), Some(u64::from(server.port)));
        assert!(field("total_commands_processed") >= Some(180), "{info}");
        assert!(field("total_connections_received") >= Some(10), "{info}");
        assert!(field("used_memory") > Some(10_000), "{info}");
        assert!(info.contains("db0:keys=180,expires=0"), "{info}");
    });
}

#[test]
fn the_server_moves_to_other_addresses() {
    on_each_setup(&[], |server| {
        let old = server.port;
        let mut wires = crowd(server);
        let new = free_port();
        // Any shard may receive the change; one shard owns the sockets.
        for (port, gone) in [(new, old), (old, new)] {
            let wire = wires.last_mut().expect("there are connections");
            assert_eq!(wire.ask(&["CONFIG", "SET", "port", &port.to_string()]), "+OK");
            for _ in 0..4 {
                assert_eq!(Wire::connect(port).ask(&["PING"]), "+PONG");
            }
            assert!(TcpStream::connect(("127.0.0.1", gone)).is_err(), "the old port is closed");
            assert_eq!(wires.pop().expect("there are connections").ask(&["PING"]), "+PONG");
        }
        let wire = &mut wires[0];
        assert_eq!(wire.ask(&["CONFIG", "SET", "bind", "* -::*"]), "+OK");
        assert_eq!(Wire::connect(old).ask(&["PING"]), "+PONG");
        assert_eq!(wire.ask(&["CONFIG", "SET", "bind", "127.0.0.1"]), "+OK");
        assert_eq!(Wire::connect(old).ask(&["PING"]), "+PONG");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = taken.local_addr().expect("the socket is bound").port().to_string();
        let refused = wire.ask(&["CONFIG", "SET", "timeout", "5", "port", &port]);
        assert!(refused.contains("Unable to listen on this port. Check server logs."), "{refused}");
        assert_eq!(wire.ask(&["CONFIG", "GET", "timeout"]), "[timeout, 0]");
        assert_eq!(Wire::connect(old).ask(&["PING"]), "+PONG");
    });
}
