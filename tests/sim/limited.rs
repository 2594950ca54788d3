//! Limits on the idle time of a client, and on its unread replies.

use crate::harness::{Client, Server, Setup, encode, key_on, ok};
use annulet::resp::Value;
use annulet::shard::limits::INPUT_BYTES_PAUSE;

fn config(server: &mut Server, admin: &mut Client, name: &str, value: &str) {
    assert_eq!(admin.run(server, ["CONFIG", "SET", name, value]), ok());
}

/// Advances the clock in steps of a server tick.
fn pass(server: &mut Server, seconds: u64) {
    for _ in 0..seconds * 10 {
        server.advance_ms(100);
    }
}

#[test]
fn idle_clients_are_disconnected_and_blocked_ones_are_not() {
    for (shards, seed) in [(1, 0), (4, 1)] {
        let mut server = Server::new(shards, seed);
        let mut admin = server.client();
        let mut idle = server.client();
        let mut blocked = server.client();
        let mut sending = server.client();
        let mut postponed = server.client();
        blocked.send(&["BLPOP", "l", "0"]);
        server.settle();
        config(&mut server, &mut admin, "timeout", "5");
        assert_eq!(admin.run(&mut server, ["CLIENT", "PAUSE", "30000", "WRITE"]), ok());
        postponed.send(&["SET", "k", "v"]);
        sending.send_bytes(b"*2\r\n$3\r\nGET\r\n$100\r\n");
        server.settle();
        for _ in 0..10 {
            pass(&mut server, 1);
            // Any bytes keep a client alive, even without a complete command.
            sending.send_bytes(b"x");
            admin.run(&mut server, ["PING"]);
        }
        assert!(idle.is_closed());
        let all = [&mut blocked, &mut sending, &mut postponed, &mut admin];
        assert!(all.into_iter().all(|client| !client.is_closed()));
        assert_eq!(admin.run(&mut server, ["CLIENT", "UNPAUSE"]), ok());
        assert_eq!(postponed.read(&mut server), ok());
        config(&mut server, &mut admin, "timeout", "0");
        pass(&mut server, 20);
        assert!(!admin.is_closed());
        blocked.link.reset();
        server.check();
    }
}

#[test]
fn soft_limits_apply_while_nothing_is_written() {
    for (shards, seed) in [(1, 0), (4, 1)] {
        let mut server = Server::with(Setup::new(shards, seed));
        let mut admin = server.client();
        let mut deaf = server.client();
        let mut slow = server.client();
        let key = key_on(shards, shards - 1, 0);
        assert_eq!(admin.run(&mut server, ["SET", &key, &"v".repeat(30_000)]), ok());
        config(&mut server, &mut admin, "client-output-buffer-limit", "normal 0 20000 3");
        for client in [&mut deaf, &mut slow] {
            client.link.set_window(0);
            client.send(&["GET", &key]);
        }
        server.settle();
        pass(&mut server, 2);
        slow.link.set_window(1 << 20);
        assert!(matches!(slow.read(&mut server), Value::Bulk(text) if text.len() == 30_000));
        pass(&mut server, 3);
        assert!(deaf.is_closed() && !slow.is_closed());
        server.check();
    }
}

/// As in the reference, the time of a soft limit begins when `omem` in CLIENT LIST exceeds it. It
/// leaves out the first 16 KiB of the output.
#[test]
fn the_time_of_a_soft_limit_begins_when_it_is_shown() {
    for (shards, seed) in [(1, 0), (4, 1)] {
        let mut server = Server::new(shards, seed);
        let mut admin = server.client();
        let mut deaf = server.client();
        config(&mut server, &mut admin, "client-output-buffer-limit", "pubsub 0 100000 3");
        deaf.link.set_window(0);
        deaf.send(&["SUBSCRIBE", "news"]);
        server.settle();
        let mut publish = |server: &mut Server, bytes: usize| {
            admin.run(server, ["PUBLISH", "news", &"v".repeat(bytes)]);
        };
        publish(&mut server, 1);
        // More than the limit, but not without the first bytes.
        (0..110).for_each(|_| publish(&mut server, 1_000));
        pass(&mut server, 4);
        assert!(!deaf.is_closed(), "{shards} shards: omem is below the limit");
        (0..10).for_each(|_| publish(&mut server, 1_000));
        pass(&mut server, 2);
        assert!(!deaf.is_closed(), "{shards} shards: it is too early");
        pass(&mut server, 2);
        assert!(deaf.is_closed(), "{shards} shards");
        server.check();
    }
}

#[test]
fn a_hard_limit_disconnects_at_once() {
    for (shards, seed) in [(1, 0), (4, 1)] {
        let mut server = Server::new(shards, seed);
        let mut admin = server.client();
        let key = key_on(shards, shards - 1, 0);
        assert_eq!(admin.run(&mut server, ["SET", &key, &"v".repeat(10_000)]), ok());
        config(&mut server, &mut admin, "client-output-buffer-limit", "normal 25000 0 0");
        let mut client = server.client();
        client.link.set_window(0);
        client.send_bytes(&encode(&["GET", &key]).repeat(3));
        server.settle();
        assert!(client.is_closed(), "it did not read its replies");
        let mut client = server.client();
        for _ in 0..5 {
            client.run(&mut server, ["GET", &key]);
        }
        // As in the reference, a limit below the size of each client's own buffer only acts beyond
        // that size.
        config(&mut server, &mut admin, "client-output-buffer-limit", "normal 1000 0 0");
        assert!(matches!(client.run(&mut server, ["GET", &key]), Value::Bulk(_)));
        server.check();
    }
}

/// Sends a blocked command, and a batch behind it whose last command makes the input pause, for
/// some of the values of `less`. The reply to the batch exceeds the limit.
fn exceed_with_paused_input(shards: usize, less: usize) {
    let mut server = Server::new(shards, 2);
    let mut admin = server.client();
    let key = key_on(shards, shards - 1, 0);
    assert_eq!(admin.run(&mut server, ["SET", &key, &"v".repeat(300_000)]), ok());
    config(&mut server, &mut admin, "client-output-buffer-limit", "normal 100000 0 0");
    let mut clients: Vec<Client> = (0..shards).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(&["BLPOP", "nothing", "0.1"]);
        let mut left = INPUT_BYTES_PAUSE - less;
        while left > 0 {
            let value = "v".repeat(9_000.min(left - 50));
            let command = encode(&["APPEND", &key, &value]);
            left = left.saturating_sub(command.len());
            client.send_bytes(&command);
            server.settle();
            left = if left < 100 { 0 } else { left };
        }
        client.send(&["GET", &key]);
        server.settle();
    }
    server.advance_ms(200);
    for mut client in clients {
        for _ in 0..20 {
            client.pump();
            server.settle();
        }
        assert!(client.link.is_closed(), "{shards} shards, {less} bytes less");
    }
    server.check();
}

#[test]
fn a_reply_over_the_limit_closes_a_client_whose_input_is_paused() {
    for shards in [1, 2, 4] {
        (0..200).step_by(10).for_each(|less| exceed_with_paused_input(shards, less));
    }
}
