//! The snapshot file: saved, loaded at the start, and errors of both.

use super::server::{Server, Setup, free_port, wait_for};
use super::wire::Wire;
use super::{logs, setups};
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
        assert!(logs(&second, "Done loading RDB, keys loaded: 506, keys expired: 0"));
        assert_eq!(info(&mut wire, "loading"), "0");
        assert_eq!(info(&mut wire, "rdb_last_load_keys_loaded"), "506");
        wire.send(&["SHUTDOWN", "SAVE"]);
        assert!(wait_for(|| second.is_over()));
        assert!(logs(&second, "DB saved on disk"));
    }
}

#[test]
fn a_file_that_cannot_be_loaded_stops_the_start() {
    let setup = Setup { shards: 2, driver: "epoll" };
    let damaged = "Terminating server after rdb file reading failure.";
    let refused = "Fatal error loading the DB, check server logs. Exiting.";
    let cases: [(&[u8], &str, &str); 6] = [
        (b"REDIS0009\xfe\x00\x00\x01k", "Unexpected EOF reading RDB file", damaged),
        (b"RODIS0009\xff", "Wrong signature trying to load DB from file: RODIS0009", refused),
        (b"REDIS0099\xff", "Can't handle RDB format version 99", refused),
        (b"VALKEY080\x96\x01k\x01v\xff", "Unknown type or opcode when loading DB", refused),
        (b"REDIS0009\x00\x01k\x01v\xff\x01\0\0\0\0\0\0\0", "Wrong RDB checksum expected", damaged),
        (
            b"REDIS0009\x02\x01k\x02\x01a\x01a\xff\0\0\0\0\0\0\0\0",
            "Duplicate elements detected",
            damaged,
        ),
    ];
    for (file, why, last) in cases {
        let mut server = launch_on(setup, file);
        assert!(wait_for(|| server.is_over()), "{why}: {}", server.log());
        assert_eq!(server.child.wait().expect("the child can be waited for").code(), Some(1));
        assert!(logs(&server, why), "{why}: {}", server.log());
        let log = server.log();
        assert!(log.trim_end().ends_with(last), "{why}: {log}");
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
        // Only a save in the background sets the status, as in the reference server.
        assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "ok");
        let error = "-ERR Errors trying to SHUTDOWN. Check logs.";
        assert_eq!(wire.ask(&["SHUTDOWN", "SAVE"]), error);
        for wire in &mut super::crowd(&server) {
            assert_eq!(wire.ask(&["GET", "k"]), "v", "the server still serves");
        }
        wire.send(&["SHUTDOWN", "SAVE", "FORCE"]);
        assert!(wait_for(|| server.is_over()));
    }
}

/// Waits until no file is being written.
fn wait_for_save(wire: &mut Wire) {
    assert!(wait_for(|| info(wire, "rdb_bgsave_in_progress") == "0"));
}

/// Asserts that the thread that writes a file may use all cores of the process, and not only the
/// core of the shard that has started it.
fn writer_has_all_cores(process: u32) {
    let read = |folder: &std::path::Path, name| std::fs::read_to_string(folder.join(name));
    let is_writer =
        |task: &std::path::Path| read(task, "comm").is_ok_and(|name| name.trim_end() == "snapshot");
    let mut writer = None;
    // A new thread takes its name when it first runs.
    let is_there = wait_for(|| {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process lives");
        writer = tasks.flatten().map(|task| task.path()).find(|task| is_writer(task));
        writer.is_some()
    });
    assert!(is_there, "a thread writes the file");
    let writer = writer.expect("it is there");
    let cores = |folder: &std::path::Path| {
        let status = read(folder, "status").expect("the thread lives");
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list"));
        line.expect("the kernel knows it").to_string()
    };
    let all = cores(format!("/proc/{process}").as_ref());
    assert!(wait_for(|| cores(&writer) == all), "{all}");
}

const UNDER_WAY: &str = "-ERR Background save already in progress";

#[test]
fn saves_in_the_background_begin_and_are_cancelled() {
    for setup in setups() {
        let server = Server::start(setup, &DEBUG);
        let mut wire = Wire::connect(server.port);
        let digest = fill(&mut wire);
        let idle = "-ERR Background saving is currently not in progress or scheduled";
        assert_eq!(wire.ask(&["BGSAVE", "CANCEL"]), idle);
        assert_eq!(wire.ask(&["BGSAVE", "x"]), "-ERR syntax error");
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]);
        assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
        for args in [&["BGSAVE"][..], &["BGSAVE", "SCHEDULE"], &["SAVE"]] {
            assert_eq!(wire.ask(args), UNDER_WAY, "{args:?}");
        }
        assert_eq!(info(&mut wire, "rdb_bgsave_in_progress"), "1");
        assert_eq!(info(&mut wire, "current_save_keys_total"), "506");
        writer_has_all_cores(server.child.id());
        assert_eq!(wire.ask(&["SET", "later", "v"]), "+OK", "clients go on");
        assert_eq!(wire.ask(&["BGSAVE", "CANCEL"]), "+Background saving cancelled");
        wait_for_save(&mut wire);
        assert_eq!(std::fs::read_dir(&server.folder).expect("a folder").count(), 0);
        assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "ok");
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        wire.ask(&["DEL", "later"]);
        assert_eq!(wire.ask(&["MULTI"]), "+OK");
        assert_eq!(wire.ask(&["BGSAVE"]), "+QUEUED");
        assert!(wire.ask(&["EXEC"]).contains("Background saving scheduled"));
        let file = server.folder.join("dump.rdb");
        assert!(wait_for(|| file.exists()));
        wait_for_save(&mut wire);
        assert_eq!(info(&mut wire, "rdb_changes_since_last_save"), "0");
        let file = std::fs::read(file).expect("the file was saved");
        let second = launch_on(Setup { shards: 3, driver: "epoll" }, &file);
        assert_eq!(Wire::connect(second.port).ask(&["DEBUG", "DIGEST"]), digest);
    }
}

#[test]
fn a_save_that_fails_stops_writes_until_one_succeeds() {
    for setup in setups() {
        let server = Server::start(setup, &[]);
        let mut wire = Wire::connect(server.port);
        let file = server.folder.join("dump.rdb");
        std::fs::create_dir_all(&file).expect("a folder");
        assert_eq!(wire.ask(&["SET", "k", "v"]), "+OK");
        assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
        wait_for_save(&mut wire);
        assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "err");
        assert_eq!(wire.ask(&["SET", "k", "v"]), "+OK", "there are no save points");
        wire.ask(&["CONFIG", "SET", "save", "900 100"]);
        let refused = "-MISCONF Valkey is configured to save RDB snapshots";
        let script = "return redis.call('set', KEYS[1], 'v')";
        for wire in &mut super::crowd(&server) {
            for args in [
                &["SET", "k", "w"][..],
                &["PING"],
                &["EVAL", script, "1", "k"],
                &["EVAL", &format!("#!lua\n{script}"), "1", "k"],
            ] {
                assert!(wire.ask(args).starts_with(refused), "{args:?}");
            }
            wire.ask(&["MULTI"]);
            assert!(wire.ask(&["SET", "k", "w"]).starts_with(refused));
            assert!(wire.ask(&["EXEC"]).starts_with("-EXECABORT"));
            assert_eq!(wire.ask(&["GET", "k"]), "v");
        }
        wire.ask(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
        assert_eq!(wire.ask(&["SET", "k", "w"]), "+OK");
        wire.ask(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]);
        std::fs::remove_dir_all(&file).expect("the folder is empty");
        assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
        wait_for_save(&mut wire);
        assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "ok");
        assert_eq!(wire.ask(&["SET", "k", "v"]), "+OK");
    }
}

#[test]
fn save_points_and_flushall_have_files_written() {
    for setup in setups() {
        let server = Server::start(setup, &DEBUG);
        let mut wire = Wire::connect(server.port);
        let file = server.folder.join("dump.rdb");
        fill(&mut wire);
        wire.ask(&["CONFIG", "SET", "save", "1 5 3600 1000000"]);
        assert!(wait_for(|| file.exists()));
        assert!(logs(&server, "5 changes in 1 seconds. Saving..."), "{}", server.log());
        wait_for_save(&mut wire);
        let len = || std::fs::metadata(&file).expect("a file").len();
        let full = len();
        // The file that is being written has keys that are gone.
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
        assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
        assert_eq!(wire.ask(&["FLUSHALL"]), "+OK");
        assert_eq!(info(&mut wire, "rdb_changes_since_last_save"), "0");
        assert!(wait_for(|| len() < full / 10), "the file has no keys");
        wait_for_save(&mut wire);
        assert!(logs(&server, "Background saving cancelled"), "{}", server.log());
    }
}

#[test]
fn a_killed_save_leaves_the_old_file() {
    let setup = Setup { shards: 2, driver: "epoll" };
    let mut server = Server::start(setup, &DEBUG);
    let mut wire = Wire::connect(server.port);
    fill(&mut wire);
    assert_eq!(wire.ask(&["SAVE"]), "+OK");
    let read = || std::fs::read(server.folder.join("dump.rdb")).expect("a file");
    let old = read();
    wire.ask(&["DEBUG", "POPULATE", "5000", "new", "200"]);
    wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "1000"]);
    assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
    let names = || std::fs::read_dir(&server.folder).expect("a folder").count();
    assert!(wait_for(|| names() == 2), "the draft is being written");
    server.child.kill().expect("the server runs");
    server.child.wait().expect("the server ends");
    assert_eq!(read(), old);
}

#[test]
fn a_shutdown_gives_up_a_save_in_the_background() {
    for setup in setups() {
        for how in ["SAVE", "NOSAVE"] {
            let mut server = Server::start(setup, &DEBUG);
            let mut wire = Wire::connect(server.port);
            fill(&mut wire);
            wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "1000000"]);
            assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
            wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
            wire.send(&["SHUTDOWN", how]);
            assert!(wait_for(|| server.is_over()), "{how}: {}", server.log());
            let entries = std::fs::read_dir(&server.folder).expect("a folder");
            let names: Vec<_> = entries.map(|it| it.expect("an entry").file_name()).collect();
            let expected = if how == "SAVE" { &["dump.rdb"][..] } else { &[] };
            assert_eq!(names, expected, "{how} {setup:?}");
            assert!(logs(&server, "User requested shutdown... (user request from 'id="));
        }
    }
}

/// Runs the check of a file. Returns its exit code and its output.
fn check(tool: &str, path: &std::path::Path) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_annulet"));
    let output = command.arg(tool).arg(path).output().expect("the binary runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn files_are_checked() {
    let server = Server::start(Setup { shards: 2, driver: "epoll" }, &DEBUG);
    let mut wire = Wire::connect(server.port);
    fill(&mut wire);
    assert_eq!(wire.ask(&["SAVE"]), "+OK");
    let path = server.folder.join("dump.rdb");
    let (code, text) = check("check-rdb", &path);
    assert_eq!(code, Some(0), "{text}");
    for line in ["Checksum OK", "\\o/ RDB looks OK! \\o/", "[info] 506 keys read"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let file = std::fs::read(&path).expect("a file");
    std::fs::write(&path, &file[..file.len() / 2]).expect("a file");
    let (code, text) = check("check-rdb", &path);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--- RDB ERROR DETECTED ---"), "{text}");
}

#[test]
fn a_folder_that_vanishes_and_a_client_that_leaves_do_no_harm() {
    for setup in setups() {
        let server = Server::start(setup, &DEBUG);
        let mut wire = Wire::connect(server.port);
        let digest = fill(&mut wire);
        std::fs::remove_dir_all(&server.folder).expect("the folder is there");
        assert_eq!(wire.ask(&["SAVE"]), "-ERR");
        assert_eq!(wire.ask(&["BGSAVE"]), "+Background saving started");
        wait_for_save(&mut wire);
        assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "err");
        assert!(logs(&server, "Failed opening the temp RDB file temp-"), "{}", server.log());
        std::fs::create_dir_all(&server.folder).expect("a folder");
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "500"]);
        for request in ["SAVE", "BGSAVE"] {
            let file = server.folder.join("dump.rdb");
            let mut leaving = Wire::connect(server.port);
            leaving.send(&[request]);
            let is_begun = || !info(&mut wire, "current_save_keys_total").starts_with('0');
            assert!(wait_for(is_begun) || file.exists(), "{request}");
            drop(leaving);
            assert!(wait_for(|| file.exists()), "{request}: {}", server.log());
            wait_for_save(&mut wire);
            std::fs::remove_file(&file).expect("a file");
        }
        assert_eq!(info(&mut wire, "rdb_last_bgsave_status"), "ok");
        assert_eq!(wire.ask(&["DEBUG", "DIGEST"]), digest);
    }
}

#[test]
fn commands_may_follow_a_snapshot_in_one_file() {
    for setup in setups() {
        let mut server = Server::start(setup, &DEBUG);
        let mut wire = Wire::connect(server.port);
        fill(&mut wire);
        assert_eq!(wire.ask(&["SAVE"]), "+OK");
        wire.ask(&["SET", "later", "v"]);
        let digest = wire.ask(&["DEBUG", "DIGEST"]);
        wire.send(&["SHUTDOWN", "NOSAVE"]);
        assert!(wait_for(|| server.is_over()));
        // The layout of Redis before 7.0.
        let mut file = std::fs::read(server.folder.join("dump.rdb")).expect("a file");
        file.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$5\r\nlater\r\n$1\r\nv\r\n");
        let path = server.folder.join("appendonly.aof");
        std::fs::write(&path, &file).expect("a file");
        let (code, text) = check("check-aof", &path);
        assert_eq!(code, Some(0), "{text}");
        let arguments = [&DEBUG[..], &["--appendonly", "yes"]].concat();
        let folder = server.folder.clone();
        let mut again = Server::launch_in(folder, setup, free_port(), &arguments, Stdio::null());
        assert!(wait_for(|| again.logged("Ready to accept connections") || again.is_over()));
        let mut wire = Wire::connect(again.port);
        assert_eq!(wire.ask(&["DEBUG", "DIGEST"]), digest, "{}", again.log());
        wire.send(&["SHUTDOWN", "NOSAVE"]);
        assert!(wait_for(|| again.is_over()));
        let manifest = again.folder.join("appendonlydir/appendonly.aof.manifest");
        let (code, text) = check("check-aof", &manifest);
        assert_eq!(code, Some(0), "{text}");
    }
}
