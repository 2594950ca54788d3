//! redis-cli, if it is installed.

use super::on_each_setup;
use super::server::{Server, wait_for};
use super::wire::{Wire, request};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Returns the name of the program on this machine.
fn program() -> Option<&'static str> {
    let answers = |name: &&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let found = ["redis-cli", "valkey-cli"].into_iter().find(answers);
    if found.is_none() {
        println!("skipped: redis-cli is not installed");
    }
    found
}

/// Returns the standard output of redis-cli for this standard input.
fn run(name: &str, server: &Server, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(name)
        .args(["-p", &server.port.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program has run before");
    child
        .stdin
        .take()
        .expect("the stream is piped")
        .write_all(input)
        .expect("the program reads its input");
    let output = child.wait_with_output().expect("the program ends");
    String::from_utf8_lossy(&output.stdout).trim_end().to_string()
}

#[test]
fn redis_cli_works() {
    let Some(name) = program() else { return };
    on_each_setup(&[], |server| {
        let cli = |arguments: &[&str]| run(name, server, arguments, b"");
        assert_eq!(cli(&["PING"]), "PONG");
        assert_eq!(cli(&["SET", "key", "two words"]), "OK");
        assert_eq!(cli(&["GET", "key"]), "two words");
        assert_eq!(run(name, server, &["-x", "SET", "stdin"], b"from\0stdin"), "OK");
        assert_eq!(cli(&["STRLEN", "stdin"]), "10");
        assert_eq!(cli(&["-3", "GET", "key"]), "two words");
        let unknown = cli(&["NOSUCH", "a", "b"]);
        assert_eq!(unknown, "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b'");
        assert_eq!(run(name, server, &[], b"PING\nGET key\n"), "PONG\ntwo words");
    });
}

#[test]
fn redis_cli_shows_messages() {
    let Some(name) = program() else { return };
    on_each_setup(&[], |server| {
        let mut child = Command::new(name)
            .args(["-p", &server.port.to_string(), "SUBSCRIBE", "news"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program has run before");
        let mut publisher = Wire::connect(server.port);
        assert!(
            wait_for(|| publisher.ask(&["PUBLISH", "news", "hello"]) == ":1"),
            "redis-cli subscribes"
        );
        let mut output = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let mut shown = String::new();
        while !shown.contains("hello") {
            assert!(output.read_line(&mut shown).expect("it is text") > 0, "{shown}");
        }
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(wait_for(|| publisher.ask(&["PUBLISH", "news", "hello"]) == ":0"), "it has left");
    });
}

#[test]
fn redis_cli_pipes_ten_thousand_commands() {
    let Some(name) = program() else { return };
    on_each_setup(&[], |server| {
        let set = |n: usize| request(&["SET", &format!("key:{n}"), &format!("value:{n}")]);
        let input: Vec<u8> = (0..10_000).flat_map(set).collect();
        let said = run(name, server, &["--pipe"], &input);
        assert!(said.ends_with("errors: 0, replies: 10000"), "{said}");
        assert_eq!(run(name, server, &["DBSIZE"], b""), "10000");
        assert_eq!(run(name, server, &["GET", "key:9999"], b""), "value:9999");
    });
}
