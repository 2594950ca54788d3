//! A node of a cluster while slots come and go: what it replies to commands on their keys.

use super::cluster::{NODE, end, folder, start_in};
use super::server::free_port;
use super::setups;
use super::wire::Wire;
use std::path::Path;

/// Writes a nodes.conf in which this node has the slots below 8,192 and another node the rest.
/// Returns the id of the other node.
fn write_two_nodes(folder: &Path, port: u16) -> String {
    let (me, other) = ("a".repeat(40), "b".repeat(40));
    let line = |id: &str, port: u16, flags: &str, slots: &str| {
        let shard = format!("shard-id={id}");
        format!("{id} 127.0.0.1:{port}@17000,,tls-port=0,{shard} {flags} - 0 0 1 connected {slots}")
    };
    let (me, rest) =
        (line(&me, port, "myself,master", "0-8191"), line(&other, 7999, "master", "8192-16383"));
    let text = format!("{me}\n{rest}\nvars currentEpoch 2 lastVoteEpoch 0\n");
    std::fs::write(folder.join("nodes.conf"), text).expect("a file");
    other
}

/// If EXEC is refused because of an open slot, none of its commands has run on any shard.
fn expect_nothing_ran(wire: &mut Wire, ask: &str) {
    assert_eq!(wire.ask(&["SET", "{b}x", "1"]), "+OK");
    for line in ["FLUSHALL", "SET {c}none 1", "CONFIG SET maxmemory-samples 9"] {
        assert_eq!(wire.ask(&["MULTI"]), "+OK");
        for queued in ["CONFIG SET maxmemory-samples 7", line, "GET {c}none"] {
            assert_eq!(wire.ask(&queued.split(' ').collect::<Vec<_>>()), "+QUEUED");
        }
        assert_eq!(wire.ask(&["EXEC"]), ask);
    }
    assert_eq!(wire.ask(&["GET", "{b}x"]), "1");
    let samples = wire.ask(&["CONFIG", "GET", "maxmemory-samples"]);
    assert_eq!(samples, "[maxmemory-samples, 5]");
}

/// A command with very many keys of an open slot looks at all of them before it changes any.
fn expect_refused_as_whole(wire: &mut Wire, other: &str, [ask, again]: [&str; 2]) {
    assert_eq!(wire.ask(&["CLUSTER", "SETSLOT", "7365", "STABLE"]), "+OK");
    assert_eq!(wire.ask(&["SET", "{c}7", "1"]), "+OK");
    assert_eq!(wire.ask(&["CLUSTER", "SETSLOT", "7365", "MIGRATING", other]), "+OK");
    let keys: Vec<String> = (8..12_000).map(|n| format!("{{c}}{n}")).collect();
    let mut many = vec!["DEL"];
    many.extend(keys.iter().map(String::as_str));
    assert_eq!(wire.ask(&many), ask);
    many.push("{c}7");
    assert_eq!(wire.ask(&many), again);
    assert_eq!(wire.ask(&["GET", "{c}7"]), "1");
}

#[test]
fn commands_on_open_slots() {
    for setup in setups() {
        let (folder, port) = (folder(), free_port());
        let other = write_two_nodes(&folder, port);
        let databases = [NODE, &["--cluster-databases", "2"]].concat();
        let server = start_in(&folder, setup, port, &databases);
        let mut wire = Wire::connect(port);
        let again = "-TRYAGAIN Multiple keys request during rehashing of slot";
        let (ask, moved) = ("-ASK 7365 127.0.0.1:7999", "-MOVED 15495 127.0.0.1:7999");
        // Slots: c 7365, of this node; a 15495, of the other node.
        for (line, reply) in [
            ("CLUSTER SETSLOT 15495 IMPORTING <other>", "+OK"),
            ("SET c 1", "+OK"),
            ("CLUSTER SETSLOT 7365 MIGRATING <other>", "+OK"),
            ("ASKING", "+OK"),
            ("ASKING", "+OK"),
            ("GET a", "(nil)"),
            ("GET a", moved),
            ("MOVE a 1", again),
            ("COPY a {a}x DB 1", again),
            ("COPY a {a}x DB 0", moved),
            ("MOVE c 1", again),
            ("MULTI", "+OK"),
            ("MOVE a 1", again),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            // What follows a refused command is not of the transaction.
            ("MULTI", "+OK"),
            ("GET c", "+QUEUED"),
            ("GET a", moved),
            ("GET {b}x", "+QUEUED"),
            ("GET c", "+QUEUED"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            // Commands that run at home, alone and behind others.
            ("SORT {c}none BY x", ask),
            ("EVAL #!lua\nreturn(redis.call('get','{c}none')) 1 {c}none", ask),
            ("EVAL return(redis.call('get','c'..'x')) 1 {c}none", ask),
            ("MULTI", "+OK"),
            ("SELECT 0", "+QUEUED"),
            ("SORT {c}none BY x", "+QUEUED"),
            ("EXEC", ask),
            ("MULTI", "+OK"),
            ("SORT {c}none BY x", "+QUEUED"),
            ("SET c 2", "+QUEUED"),
            ("EXEC", again),
            ("MULTI", "+OK"),
            ("SET c 3", "+QUEUED"),
            ("EVAL return(redis.call('get','c'..'')) 1 c", "+QUEUED"),
            ("GET {c}none", "+QUEUED"),
            ("EXEC", again),
            ("GET c", "1"),
            ("MULTI", "+OK"),
            ("SET c 3", "+QUEUED"),
            ("EVAL return(redis.call('get','c'..'')) 1 c", "+QUEUED"),
            ("DEL c", "+QUEUED"),
            ("SORT c BY x", "+QUEUED"),
            ("EXEC", "[+OK, 3, :1, []]"),
        ] {
            let line = line.replace("<other>", &other);
            assert_eq!(wire.ask(&line.split(' ').collect::<Vec<_>>()), reply, "{line}");
        }
        expect_nothing_ran(&mut wire, ask);
        expect_refused_as_whole(&mut wire, &other, [ask, again]);
        end(server);
        std::fs::remove_dir_all(&folder).expect("a folder");
    }
}
