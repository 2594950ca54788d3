//! Start and end of a server: wrong settings, ports in use, signals.

use super::server::{PATIENCE, Server, Setup, drivers, free_port, wait_for};
use super::wire::{Wire, request};
use super::{logs, on_each_setup, setups};
use annulet::base::clock::Clock;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const EPOLL: Setup = Setup { shards: 2, driver: "epoll" };

/// Waits for the end of the process; returns its exit code.
fn exit_code(server: &mut Server) -> Option<i32> {
    assert!(wait_for(|| server.is_over()), "the server has not ended in {PATIENCE:?}");
    server.child.wait().expect("the child can be waited for").code()
}

/// Sends a signal with the shell's built-in `kill`.
fn signal(server: &Server, name: &str) {
    let line = format!("kill -{name} {}", server.child.id());
    let status = Command::new("sh").args(["-c", &line]).status().expect("the shell runs");
    assert!(status.success(), "{line}");
}

#[test]
fn a_start_and_an_end_by_signal_are_logged() {
    for name in ["TERM", "INT"] {
        for setup in setups() {
            let mut server = Server::start(setup, &[]);
            let mut wire = Wire::connect(server.port);
            assert_eq!(wire.ask(&["SET", "key", "value"]), "+OK");
            signal(&server, name);
            assert_eq!(exit_code(&mut server), Some(0), "SIG{name} {setup:?}");
            assert_eq!(wire.rest(), "", "the connection is closed");
            let pid = format!(" PID: {}", server.child.id());
            let signalled = format!("Received SIG{name} scheduling shutdown...");
            let lines =
                ["Server initialized", "Ready to accept connections", &pid, &signalled, "bye bye"];
            for line in lines {
                assert!(logs(&server, line), "{line}");
            }
        }
    }
}

#[test]
fn shutdown_ends_the_process() {
    for setup in setups() {
        for args in [&["SHUTDOWN"][..], &["SHUTDOWN", "NOSAVE"], &["SHUTDOWN", "NOW", "FORCE"]] {
            let mut server = Server::start(setup, &[]);
            let mut wire = Wire::connect(server.port);
            wire.send(args);
            assert_eq!(wire.rest(), "", "{args:?}");
            assert_eq!(exit_code(&mut server), Some(0), "{args:?} {setup:?}");
            assert!(logs(&server, "User requested shutdown..."));
        }
    }
}

#[test]
fn a_shutdown_waits_for_the_first_base_of_the_append_only_file() {
    for setup in setups() {
        let mut server = Server::start(setup, &[]);
        let mut wire = Wire::connect(server.port);
        wire.ask(&["MSET", "a", "1", "b", "2", "c", "3"]);
        wire.ask(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
        assert_eq!(wire.ask(&["CONFIG", "SET", "appendonly", "yes"]), "+OK");
        let starts = || server.logged("Background append only file rewriting started");
        assert!(wait_for(starts));
        let refusal = "-ERR Errors trying to SHUTDOWN. Check logs.";
        assert_eq!(wire.ask(&["SHUTDOWN", "NOSAVE"]), refusal);
        assert!(logs(&server, "Writing initial AOF, can't exit."));
        signal(&server, "TERM");
        let refusals = || server.log().matches("Errors trying to shut down the server").count();
        assert!(wait_for(|| refusals() == 2), "{setup:?}");
        assert_eq!(wire.ask(&["GET", "a"]), "1", "it serves");
        wire.send(&["SHUTDOWN", "NOSAVE", "FORCE"]);
        assert_eq!(exit_code(&mut server), Some(0), "{setup:?}");
        assert!(logs(&server, "Writing initial AOF. Exit anyway."));
    }
}

/// Runs for about half a second in an optimized build, and locks its key.
const LONG_SCRIPT: &str = "for i = 1, 20000000 do local j = i end redis.call('SET', KEYS[1], 1)";

#[test]
fn commands_that_wait_for_locks_do_not_keep_a_server_from_stopping() {
    for driver in drivers() {
        let arguments = ["--appendonly", "yes"];
        let mut server = Server::start(Setup { shards: 2, driver }, &arguments);
        let keys = ["foo", "bar"];
        let scripts = keys.map(|key| {
            let mut wire = Wire::connect(server.port);
            wire.send(&["EVAL", LONG_SCRIPT, "1", key]);
            wire
        });
        let mut wires: Vec<Wire> = (0..8).map(|_| Wire::connect(server.port)).collect();
        thread::sleep(Duration::from_millis(50));
        signal(&server, "TERM");
        // Units that wait behind a script, and units that read on one shard beside the script.
        let pipeline = [request(&["GET", "{foo}2"]), request(&["SET", "{bar}2", "x"])].concat();
        let multi = [request(&["MULTI"]), pipeline.clone(), request(&["EXEC"])].concat();
        let msets = keys.map(|key| request(&["MSET", key, "2", "{bar}2", "3", "{foo}3", "4"]));
        for (number, wire) in wires.iter_mut().enumerate() {
            thread::sleep(Duration::from_millis(20));
            wire.write([&pipeline, &multi, &msets[0], &msets[1]][number % 4]);
        }
        assert_eq!(exit_code(&mut server), Some(0), "{driver}");
        drop(scripts);
    }
}

#[test]
fn a_port_in_use_is_an_error() {
    let first = Server::start(EPOLL, &[]);
    for driver in drivers() {
        let setup = Setup { shards: 2, driver };
        let mut second = Server::launch(setup, first.port, &[], Stdio::null());
        assert_eq!(exit_code(&mut second), Some(1));
        assert!(logs(&second, "Failed listening on port"), "{}", second.log());
        assert!(!second.logged("Ready to accept connections"), "{}", second.log());
    }
    assert_eq!(Wire::connect(first.port).ask(&["PING"]), "+PONG");
}

/// A temporary config file, removed on drop.
struct ConfigFile(String);

impl ConfigFile {
    fn new(name: &str, text: &str) -> ConfigFile {
        let name = format!("annulet-test-{}-{name}.conf", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the folder for temporary files can be written");
        ConfigFile(path.to_str().expect("the name is text").to_string())
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_bad_config_file_is_a_fatal_error_that_names_the_line() {
    let file = ConfigFile::new("bad", "maxclients 100\n\n# a comment\nno-such-setting yes\n");
    let mut server = Server::launch(EPOLL, free_port(), &[&file.0], Stdio::null());
    assert_eq!(exit_code(&mut server), Some(1));
    for text in [
        "*** FATAL CONFIG FILE ERROR (Version",
        "Reading the configuration file, at line 4",
        ">>> 'no-such-setting yes'",
        "Bad directive or wrong number of arguments",
    ] {
        assert!(logs(&server, text), "{text}");
    }
}

#[test]
fn settings_come_from_the_file_then_from_the_arguments() {
    let file = ConfigFile::new("good", "maxclients 100\ntimeout 30\n");
    let server = Server::start(EPOLL, &[&file.0, "--timeout", "40"]);
    let mut wire = Wire::connect(server.port);
    assert_eq!(wire.ask(&["CONFIG", "GET", "maxclients"]), "[maxclients, 100]");
    assert_eq!(wire.ask(&["CONFIG", "GET", "timeout"]), "[timeout, 40]");
    assert!(wire.ask(&["INFO", "server"]).contains(&format!("config_file:{}", file.0)));
}

#[test]
fn a_dash_reads_settings_from_the_standard_input() {
    let mut server = Server::launch(EPOLL, free_port(), &["-"], Stdio::piped());
    let mut input = server.child.stdin.take().expect("the stream is piped");
    input.write_all(b"maxclients 77\n").expect("the server reads");
    drop(input);
    assert!(wait_for(|| server.logged("Ready to accept connections") || server.is_over()));
    let mut wire = Wire::connect(server.port);
    assert_eq!(wire.ask(&["CONFIG", "GET", "maxclients"]), "[maxclients, 77]");
}

#[test]
fn a_server_that_has_been_idle_ends_at_once() {
    for setup in setups() {
        let mut server = Server::start(setup, &[]);
        let mut wire = Wire::connect(server.port);
        assert_eq!(wire.ask(&["PING"]), "+PONG");
        // The thread of the append-only file sleeps by now, because there is no such file.
        thread::sleep(Duration::from_millis(500));
        let start_ns = Clock::System.monotonic_ns();
        wire.send(&["SHUTDOWN", "NOSAVE"]);
        assert!(wait_for(|| server.is_over()));
        let took_ns = Clock::System.monotonic_ns() - start_ns;
        assert!(took_ns < 4_000_000_000, "the server ended after {took_ns} ns");
    }
}

#[test]
fn debug_sleep_stops_every_shard() {
    on_each_setup(&["--enable-debug-command", "yes"], |server| {
        let mut wires = super::crowd(server);
        let clock = Clock::System;
        let start_ns = clock.monotonic_ns();
        wires[0].send(&["DEBUG", "SLEEP", "0.5"]);
        thread::sleep(Duration::from_millis(100));
        for wire in &mut wires[1..] {
            wire.send(&["PING"]);
        }
        for wire in &mut wires[1..] {
            assert_eq!(wire.line(), "+PONG");
        }
        assert_eq!(wires[0].line(), "+OK");
        let took_ns = clock.monotonic_ns() - start_ns;
        assert!(took_ns >= 450_000_000, "the shards slept for {took_ns} ns only");
    });
}

#[test]
fn debug_finds_keys_on_every_shard() {
    on_each_setup(&["--enable-debug-command", "yes"], |server| {
        let mut wires = super::crowd(server);
        assert_eq!(wires[0].ask(&["DEBUG", "POPULATE", "1000", "pre", "20"]), "+OK");
        for wire in &mut wires {
            let digest = wire.ask(&["DEBUG", "DIGEST"]);
            assert_eq!(digest, "+f816efed5f34953cfffd98fd7fff8ca2153de045", "the reference's");
            let value = wire.ask(&["DEBUG", "DIGEST-VALUE", "pre:1", "none"]);
            assert!(value.ends_with(&format!(", +{}]", "0".repeat(40))), "{value}");
            let line = wire.ask(&["DEBUG", "OBJECT", "pre:7"]);
            assert!(line.contains(" encoding:embstr serializedlength:21 lru:"), "{line}");
            assert_eq!(wire.ask(&["DEBUG", "OBJECT", "none"]), "-ERR no such key");
        }
    });
}

#[test]
fn debug_is_guarded() {
    on_each_setup(&[], |server| {
        let reply = Wire::connect(server.port).ask(&["DEBUG", "SLEEP", "0"]);
        assert!(reply.starts_with("-ERR DEBUG command not allowed."), "{reply}");
    });
}

#[test]
fn version_and_help_are_printed() {
    for (flag, text) in [("--version", "Annulet server v="), ("--help", "--DIRECTIVE VALUE")] {
        let output = Command::new(env!("CARGO_BIN_EXE_annulet")).arg(flag).output();
        let output = output.expect("the binary runs");
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(text));
    }
}

/// A supervisor starts the server again at once. The kernel may hold the port of a killed server
/// for some milliseconds.
#[test]
fn a_killed_server_is_started_again_at_once() {
    for setup in setups() {
        let mut server = Server::start(setup, &[]);
        for _ in 0..5 {
            assert_eq!(Wire::connect(server.port).ask(&["PING"]), "+PONG");
            signal(&server, "KILL");
            server.child.wait().expect("the child can be waited for");
            let next = Server::launch(setup, server.port, &[], Stdio::null());
            server = next;
            let has_come = wait_for(|| server.logged("Ready to accept") || server.is_over());
            assert!(has_come && !server.is_over(), "{}", server.log());
        }
    }
}
