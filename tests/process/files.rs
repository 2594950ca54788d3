//! The snapshot file: saved, loaded at the start, and errors of both.

use super::server::{Server, Setup, free_port, wait_for};
use super::setups;
use super::wire::Wire;
use std::process::Stdio;

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

/// Launches a server on this file, and waits until it serves or has ended.
fn launch_on(setup: Setup, file: &[u8]) -> Server {
    let mut server = Server::launch_on(Some(file), setup, free_port(), &DEBUG, Stdio::null());
    let is_up = wait_for(|| server.logged("Ready to accept connections") || server.is_over());
    assert!(is_up, "{}", server.log());
    server
}

/// Fills a server with keys of all types; returns its digest.
fn fill(wire: &mut Wire) -> String {
    assert_eq!(wire.ask(&["DEBUG", "POPULATE", "500", "pre", "20"]), "+OK");
    for args in [
        &["RPUSH", "list", "a", "b", "12"][..],
        &["SADD", "set", "1", "2", "x"],
        &["ZADD", "zset", "1.5", "a", "-1", "b"],
        &["HSET", "hash", "f", "v", "g", "w"],
        &["XADD", "stream", "5-1", "f", "v"],
        &["SET", "expires", "v", "PX", "100000000"],
    ] {
        let reply = wire.ask(args);
        assert!(!reply.starts_with('-'), "{args:?}: {reply}");
    }
    wire.ask(&["DEBUG", "DIGEST"])
}

fn info(wire: &mut Wire, field: &str) -> String {
    let text = wire.ask(&["INFO", "persistence"]);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.expect("a field of INFO").trim().to_string()
}

#[test]
fn saved_keys_are_loaded_at_the_next_start() {
    let all = setups();
    for (at, setup) in all.iter().copied().enumerate() {
        let first = Server::start(setup, &DEBUG);
        let mut wire = Wire::connect(first.port);
        let digest = fill(&mut wire);
        assert_ne!(info(&mut wire, "rdb_changes_since_last_save"), "0");
        assert_eq!(wire.ask(&["SAVE"]), "+OK");
        assert_eq!(info(&mut wire, "rdb_changes_since_last_save"), "0");
        assert_eq!(info(&mut wire, "rdb_saves"), "1");
        for args in [&["DEBUG", "RELOAD"][..], &["DEBUG", "RELOAD", "NOSAVE"]] {
            assert_eq!(wire.ask(args), "+OK");
            assert_eq!(wire.ask(&["DEBUG", "DIGEST"]), digest, "{args:?}");
        }
        let file = std::fs::read(first.folder.join("dump.rdb")).expect("the file was saved");
        // Loaded by a server with another number of shards.
        let mut second = launch_on(all[(at + 1) % all.len()], &file);
        let mut wire = Wire::connect(second.port);
        assert_eq!(wire.ask(&["DEBUG", "DIGEST"]), digest);
        assert!(second.logged("Done loading RDB, keys loaded: 506, keys expired: 0"));
        assert_eq!(info(&mut wire, "loading"), "0");
        assert_eq!(info(&mut wire, "rdb_last_load_keys_loaded"), "506");
        wire.send(&["SHUTDOWN", "SAVE"]);
        assert!(wait_for(|| second.is_over()));
        assert!(second.logged("DB saved on disk"));
    }
}

#[test]
fn a_file_that_cannot_be_loaded_stops_the_start() {
    let setup = Setup { shards: 2, driver: "epoll" };
    let cases: [(&[u8], &str); 5] = [
        (b"REDIS0009\xfe\x00\x00\x01k", "Unexpected EOF reading RDB file"),
        (b"RODIS0009\xff", "Wrong signature trying to load DB from file: RODIS0009"),
        (b"REDIS0099\xff", "Can't handle RDB format version 99"),
        (b"REDIS0009\x00\x01k\x01v\xff\x01\0\0\0\0\0\0\0", "Wrong RDB checksum expected"),
        (b"REDIS0009\x02\x01k\x02\x01a\x01a\xff\0\0\0\0\0\0\0\0", "Duplicate elements detected"),
    ];
    for (file, why) in cases {
        let mut server = launch_on(setup, file);
        assert!(wait_for(|| server.is_over()), "{why}: {}", server.log());
        assert_eq!(server.child.wait().expect("the child can be waited for").code(), Some(1));
        assert!(server.logged(why), "{why}: {}", server.log());
        assert!(server.logged("Fatal error loading the DB"), "{}", server.log());
    }
}

#[test]
fn shutdown_fails_if_it_cannot_save() {
    for setup in setups() {
        let mut server = Server::start(setup, &[]);
        let mut wire = Wire::connect(server.port);
        assert_eq!(wire.ask(&["SET", "k", "v"]), "+OK");
        // The save fails because a file cannot replace a folder.
        std::fs::create_dir_all(server.folder.join("dump.rdb")).expect("a folder");
        assert_eq!(wire.ask(&["SAVE"]), "-ERR");
        assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "err");
        let error = "-ERR Errors trying to SHUTDOWN. Check logs.";
        assert_eq!(wire.ask(&["SHUTDOWN", "SAVE"]), error);
        for wire in &mut super::crowd(&server) {
            assert_eq!(wire.ask(&["GET", "k"]), "v", "the server still serves");
        }
        wire.send(&["SHUTDOWN", "SAVE", "FORCE"]);
        assert!(wait_for(|| server.is_over()));
    }
}
