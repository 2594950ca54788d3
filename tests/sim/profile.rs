//! LATENCY PROFILE: a traced request passes each stage once, wherever its keys are.

use crate::harness::{Client, Server, bulk, encode, key_on, ok};
use annulet::resp::Value;

fn profile(server: &mut Server, client: &mut Client) -> String {
    match client.run(server, ["LATENCY", "PROFILE"]) {
        Value::Bulk(text) | Value::Verbatim(_, text) => String::from_utf8(text).expect("text"),
        other => panic!("{other:?} is not a text"),
    }
}

/// Returns the number of samples of a stage of a command.
fn samples(text: &str, command: &str, stage: &str) -> u64 {
    let line = |line: &&str| {
        let args: Vec<&str> = line.split_whitespace().collect();
        args.first() == Some(&command) && args.get(2) == Some(&stage)
    };
    let found = text.lines().find(line);
    found.map_or(0, |line| {
        line.split_whitespace().nth(3).expect("samples").parse().expect("a number")
    })
}

#[test]
fn each_stage_is_passed_once() {
    for shards in [1, 2, 4] {
        let mut server = Server::new(shards, 7);
        let mut client = server.client();
        let args = ["CONFIG", "SET", "latency-profile-interval", "1"];
        assert_eq!(client.run(&mut server, args), ok());
        client.run(&mut server, ["LATENCY", "PROFILE", "RESET"]);
        for number in 0..50 {
            let key = key_on(shards, number % shards, number);
            assert_eq!(client.run(&mut server, ["SET", &key, "v"]), ok());
        }
        let mut pipeline = Vec::new();
        for number in 0..50 {
            pipeline.extend(encode(&["GET", &key_on(shards, number % shards, number)]));
            pipeline.extend(encode(&["MGET", "a", "b", "c"]));
        }
        client.send_bytes(&pipeline);
        for _ in 0..50 {
            assert_eq!(client.read(&mut server), bulk("v"));
            client.read(&mut server);
        }
        let text = profile(&mut server, &mut client);
        for stage in ["parse", "execute", "batch", "send"] {
            assert_eq!(samples(&text, "set", stage), 50, "{shards} shards, {stage}\n{text}");
        }
        let there = 50 - 50usize.div_ceil(shards) as u64;
        let inbox = samples(&text, "set", "inbox");
        assert!(inbox <= 2 * there && inbox > 0 || shards == 1, "{inbox} of {there}\n{text}");
        let replies = ["get", "mget"].map(|name| samples(&text, name, "send"));
        assert!(replies.iter().sum::<u64>() > 0, "{text}");
        server.check();
    }
}

#[test]
fn nothing_is_traced_when_it_is_off() {
    let mut server = Server::new(2, 1);
    let mut client = server.client();
    client.run(&mut server, ["CONFIG", "SET", "latency-profile-interval", "0"]);
    client.run(&mut server, ["LATENCY", "PROFILE", "RESET"]);
    for number in 0..500 {
        client.run(&mut server, ["SET", &format!("k{number}"), "v"]);
    }
    let text = profile(&mut server, &mut client);
    assert!(text.contains("No request is traced") && text.contains("None has been"), "{text}");
}
