//! `maxmemory-clients` over all shards: which clients are disconnected, in which order, and that no
//! count is left over.

use crate::harness::{Client, Server, encode, key_on, ok};
use annulet::resp::Value;

/// Largest difference in bytes between clients that have sent the same amount.
const ROOM_BYTES: u64 = 60_000;

/// Returns a field of a client's line in CLIENT LIST.
fn field(server: &mut Server, admin: &mut Client, name: &str, field: &str) -> Option<u64> {
    let Value::Bulk(text) = admin.run(server, ["CLIENT", "LIST"]) else { panic!("a text") };
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find(|line| line.contains(&format!(" name={name} ")))?;
    let value = line.split(' ').find_map(|arg| arg.strip_prefix(&format!("{field}=")))?;
    Some(value.parse().expect("a number"))
}

/// Returns a field of INFO.
fn info(server: &mut Server, admin: &mut Client, field: &str) -> u64 {
    let Value::Bulk(text) = admin.run(server, ["INFO"]) else { panic!("a text") };
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("the field is there").parse().expect("a number")
}

/// Sends more than the connection takes at once.
fn send_all(server: &mut Server, client: &mut Client, bytes: &[u8]) {
    client.send_bytes(bytes);
    while !client.has_sent() && !client.link.is_closed() {
        server.settle();
        client.pump();
    }
    server.settle();
}

/// Connects a client of this name with `bytes` bytes of incomplete input.
fn large(server: &mut Server, name: &str, bytes: usize) -> Client {
    let mut client = server.client();
    assert_eq!(client.run(server, ["CLIENT", "SETNAME", name]), ok());
    let text = encode(&["SET", "k", &"v".repeat(bytes)]);
    send_all(server, &mut client, &text[..text.len() - 3]);
    client
}

fn limit(server: &mut Server, admin: &mut Client, bytes: u64) {
    let bytes = bytes.to_string();
    assert_eq!(admin.run(server, ["CONFIG", "SET", "maxmemory-clients", &bytes]), ok());
}

#[test]
fn the_largest_clients_go_first_and_no_more_than_needed() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2), (4, 3), (7, 4)] {
        let mut server = Server::new(shards, seed);
        let mut admin = server.client();
        assert_eq!(admin.run(&mut server, ["CLIENT", "NO-EVICT", "ON"]), ok());
        let sizes = [128 << 10, 1 << 20, 3 << 20];
        let mut clients = Vec::new();
        for size in sizes {
            for number in 0..5 {
                clients.push(large(&mut server, &format!("c{size}-{number}"), size));
            }
        }
        let admins = field(&mut server, &mut admin, "", "tot-mem").expect("the client is listed");
        let mut left = 15;
        for size in sizes.iter().rev() {
            let each = |server: &mut Server, admin: &mut Client, number| {
                field(server, admin, &format!("c{size}-{number}"), "tot-mem")
            };
            let sum = |server: &mut Server, admin: &mut Client| -> u64 {
                let all = sizes.iter().flat_map(|size| (0..5).map(move |at| (size, at)));
                let names = all.map(|(size, at)| format!("c{size}-{at}"));
                names.filter_map(|name| field(server, admin, &name, "tot-mem")).sum()
            };
            let before = sum(&mut server, &mut admin);
            let one = each(&mut server, &mut admin, 0).expect("the client is listed");
            // Room for two of these clients.
            limit(&mut server, &mut admin, before - 3 * one + ROOM_BYTES);
            left -= 3;
            assert_eq!(server.connections(), left + 1, "shards {shards}, size {size}");
            let count = (0..5).filter(|at| each(&mut server, &mut admin, *at).is_some()).count();
            assert_eq!(count, 2);
            let rest = sum(&mut server, &mut admin);
            limit(&mut server, &mut admin, rest + ROOM_BYTES - 2 * one);
            left -= 2;
            assert_eq!(server.connections(), left + 1);
        }
        assert_eq!(info(&mut server, &mut admin, "evicted_clients"), 15);
        server.advance_ms(200);
        let normal = info(&mut server, &mut admin, "mem_clients_normal");
        assert!(normal <= 2 * admins, "{normal} bytes");
        server.check();
    }
}

#[test]
fn a_client_that_grows_past_the_limit_is_disconnected() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let mut server = Server::new(shards, seed);
        let mut admin = server.client();
        let mut spared = large(&mut server, "spared", 500_000);
        limit(&mut server, &mut admin, 1_000_000);
        let mut other = large(&mut server, "other", 700_000);
        assert!(other.is_closed() && !spared.is_closed(), "the larger client is disconnected");
        // Queued commands, unread replies and watched keys count too.
        let mut queuing = server.client();
        queuing.run(&mut server, ["MULTI"]);
        for _ in 0..3 {
            queuing.send(&["SET", "k", &"v".repeat(200_000)]);
            server.settle();
        }
        while queuing.try_read().is_some() {}
        assert!(queuing.is_closed());
        let mut deaf = server.client();
        let key = key_on(shards, shards - 1, 0);
        assert_eq!(deaf.run(&mut server, ["SET", &key, &"v".repeat(200_000)]), ok());
        deaf.link.set_window(0);
        for _ in 0..4 {
            deaf.send(&["GET", &key]);
            server.settle();
        }
        while deaf.try_read().is_some() {}
        assert!(deaf.is_closed());
        assert!(!spared.is_closed());
        assert_eq!(info(&mut server, &mut admin, "evicted_clients"), 3);
        server.check();
    }
}

#[test]
fn clients_with_no_evict_are_spared() {
    for (shards, seed) in [(1, 0), (3, 1)] {
        let mut server = Server::new(shards, seed);
        let mut admin = server.client();
        assert_eq!(admin.run(&mut server, ["CLIENT", "NO-EVICT", "ON"]), ok());
        limit(&mut server, &mut admin, 1_000_000);
        let mut spared = server.client();
        assert_eq!(spared.run(&mut server, ["CLIENT", "NO-EVICT", "ON"]), ok());
        let text = encode(&["SET", "k", &"v".repeat(2_000_000)]);
        send_all(&mut server, &mut spared, &text[..text.len() - 3]);
        assert!(!spared.is_closed());
        let mut victim = server.world.connect();
        server.settle();
        assert!(victim.is_closed(), "the largest client that may be evicted");
        limit(&mut server, &mut admin, 0);
        let mut other = server.client();
        limit(&mut server, &mut admin, 5_000_000);
        assert_eq!(other.run(&mut server, ["PING"]), Value::Simple(b"PONG".to_vec()));
        spared.send_bytes(&text[text.len() - 3..]);
        assert_eq!(spared.read(&mut server), ok());
        assert_eq!(spared.run(&mut server, ["CLIENT", "NO-EVICT", "OFF"]), ok());
        server.check();
    }
}
