//! WAITAOF on a server that is its own only copy; `tests/replication` has replicas.

use super::server::{Server, wait_for};
use super::wire::{Wire, info_field, request};
use super::{crowd, on_each_setup};
use std::time::Duration;

const NO_FILE: &str =
    "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// Returns the reply to a WAITAOF that takes as long as needed.
fn local(wire: &mut Wire) -> String {
    wire.ask(&["WAITAOF", "1", "0", "0"])
}

fn is_blocked(other: &mut Wire) -> bool {
    info_field(&other.ask(&["INFO", "clients"]), "blocked_clients") == Some(1)
}

#[test]
fn waitaof_follows_the_fsync_policy() {
    on_each_setup(&["--appendonly", "yes"], |server: &Server| {
        let mut other = Wire::connect(server.port);
        for (at, mut wire) in crowd(server).into_iter().take(3).enumerate() {
            let key = format!("key:{at}");
            wire.ask(&["SET", &key, "everysec"]);
            assert_eq!(local(&mut wire), "[:1, :0]");
            other.ask(&["CONFIG", "SET", "appendfsync", "no"]);
            wire.ask(&["MSET", &key, "no", "other", "no"]);
            assert_eq!(wire.ask(&["WAITAOF", "1", "0", "50"]), "[:0, :0]");
            assert_eq!(wire.ask(&["WAITAOF", "0", "0", "0"]), "[:0, :0]");
            other.ask(&["CONFIG", "SET", "appendfsync", "always"]);
            wire.ask(&["SET", &key, "always"]);
            assert_eq!(local(&mut wire), "[:1, :0]");
            assert_eq!(wire.ask(&["WAITAOF", "1", "1", "50"]), "[:1, :0]");
            wire.ask(&["MULTI"]);
            wire.ask(&["WAITAOF", "1", "1", "0"]);
            assert_eq!(wire.ask(&["EXEC"]), "[[:1, :0]]", "a transaction does not wait");
            let script = "return redis.call('WAITAOF', '1', '1', '0')";
            assert_eq!(wire.ask(&["EVAL", script, "0"]), "[:1, :0]", "nor does a script");
            other.ask(&["CONFIG", "SET", "appendfsync", "everysec"]);
        }
    });
}

#[test]
fn waitaof_ends_with_the_append_only_file() {
    on_each_setup(&["--appendonly", "yes", "--appendfsync", "no"], |server: &Server| {
        let (mut wire, mut other) = (Wire::connect(server.port), Wire::connect(server.port));
        wire.ask(&["SET", "key", "1"]);
        wire.send(&["WAITAOF", "1", "0", "0"]);
        assert!(wait_for(|| is_blocked(&mut other)), "the client waits");
        assert_eq!(other.ask(&["CONFIG", "SET", "appendonly", "no"]), "+OK");
        assert_eq!(wire.reply(), NO_FILE);
        assert_eq!(local(&mut wire), NO_FILE);
        assert_eq!(wire.ask(&["WAITAOF", "0", "0", "0"]), "[:0, :0]");

        other.ask(&["CONFIG", "SET", "appendfsync", "everysec"]);
        assert_eq!(other.ask(&["CONFIG", "SET", "appendonly", "yes"]), "+OK");
        wire.ask(&["SET", "key", "2"]);
        assert_eq!(local(&mut wire), "[:1, :0]", "its first base is complete");
        let info = other.ask(&["INFO", "persistence"]);
        assert_eq!(info_field(&info, "aof_rewrite_in_progress"), Some(0));
        assert_eq!(info_field(&info, "aof_rewrite_scheduled"), Some(0));
    });
}

#[test]
fn the_file_is_turned_off_and_on_during_rewrites() {
    on_each_setup(&["--appendonly", "yes"], |server: &Server| {
        let (mut wire, mut other) = (Wire::connect(server.port), Wire::connect(server.port));
        for at in 0..50 {
            wire.ask(&["SET", &format!("key:{at}"), "v"]);
        }
        for round in 0..40 {
            other.ask(&["BGREWRITEAOF"]);
            std::thread::sleep(Duration::from_micros(round % 20 * 300));
            other.write(request(&["CONFIG", "SET", "appendonly", "no"]));
            other.write(request(&["CONFIG", "SET", "appendonly", "yes"]));
            assert_eq!((other.reply(), other.reply()), ("+OK".into(), "+OK".into()));
            wire.ask(&["SET", "key:0", &round.to_string()]);
        }
        assert_eq!(local(&mut wire), "[:1, :0]", "a base is complete in the end");
        let rests = || {
            let info = other.ask(&["INFO", "persistence"]);
            let fields = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"];
            fields.iter().all(|field| info_field(&info, field) == Some(0))
        };
        assert!(wait_for(rests), "no rewrite is left");
    });
}
