//! The log of a process that crashes, or that gets SIGALRM.

use super::logs;
use super::server::{Server, Setup, wait_for};
use super::wire::Wire;
use std::process::Command;

const SETUP: Setup = Setup { shards: 2, driver: "epoll" };

fn ended_by(server: &mut Server) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    assert!(wait_for(|| server.is_over()), "the server has not ended");
    server.child.wait().expect("the child can be waited for").signal()
}

fn signal(server: &Server, name: &str) {
    let line = format!("kill -{name} {}", server.child.id());
    let status = Command::new("sh").args(["-c", &line]).status().expect("the shell runs");
    assert!(status.success(), "{line}");
}

#[test]
fn a_fault_is_reported_with_all_stacks() {
    let mut server = Server::start(SETUP, &["--enable-debug-command", "yes"]);
    let mut wire = Wire::connect(server.port);
    wire.send(&["DEBUG", "SEGFAULT"]);
    assert_eq!(ended_by(&mut server), Some(libc_signal("SEGV")));
    let log = server.log();
    for part in [
        "BUG REPORT START: Cut & paste starting from here ===",
        "crashed by signal: 11",
        "Accessing address: 0x",
        "fault",
        "src/commands/debug",
        " shard-0:",
        " shard-1:",
        "------ STACK TRACE DONE ------",
        "RIP ",
        "# Server\n",
        "BUG REPORT END.",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_signal_of_another_process_is_reported() {
    let mut server = Server::start(SETUP, &[]);
    signal(&server, "ABRT");
    assert_eq!(ended_by(&mut server), Some(libc_signal("ABRT")));
    let log = server.log();
    assert!(log.contains("crashed by signal: 6"), "{log}");
    assert!(log.contains("Killed by PID: "), "{log}");
    let mut server = Server::start(SETUP, &["--crash-log-enabled", "no"]);
    signal(&server, "ABRT");
    assert_eq!(ended_by(&mut server), Some(libc_signal("ABRT")));
    assert!(!server.log().contains("crashed"), "{}", server.log());
}

#[test]
fn a_panic_is_reported_once() {
    let arguments = ["--enable-debug-command", "yes", "--use-exit-on-panic", "yes"];
    let mut server = Server::start(SETUP, &arguments);
    Wire::connect(server.port).send(&["DEBUG", "ASSERT"]);
    assert!(wait_for(|| server.is_over()));
    assert_eq!(server.child.wait().expect("the child can be waited for").code(), Some(1));
    let log = server.log();
    assert!(log.contains("=== ASSERTION FAILED ==="), "{log}");
    assert!(log.contains("DEBUG ASSERT was called"), "{log}");
    assert_eq!(log.matches("------ STACK TRACE ------").count(), 1, "{log}");
}

#[test]
fn an_alarm_logs_the_stacks_and_the_server_continues() {
    let server = Server::start(SETUP, &["--enable-debug-command", "yes"]);
    let mut wire = Wire::connect(server.port);
    for times in [1, 2] {
        signal(&server, "ALRM");
        let done = || server.log().matches("STACK TRACE DONE").count() == times;
        assert!(wait_for(done), "{}", server.log());
    }
    assert!(logs(&server, "Received SIGALRM"));
    assert!(server.log().contains(" shard-1:"), "{}", server.log());
    assert_eq!(wire.ask(&["PING"]), "+PONG");
    assert_eq!(wire.ask(&["CONFIG", "SET", "watchdog-period", "200"]), "+OK");
    assert_eq!(wire.ask(&["DEBUG", "SLEEP", "0.6"]), "+OK");
    assert!(wait_for(|| server.logged("WATCHDOG TIMER EXPIRED")));
    assert_eq!(wire.ask(&["PING"]), "+PONG");
}

/// Returns the number of a signal, which is the same on all supported machines.
fn libc_signal(name: &str) -> i32 {
    match name {
        "ABRT" => 6,
        _ => 11,
    }
}
