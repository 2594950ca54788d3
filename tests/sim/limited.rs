//! Limits on the idle time of a client, and on its unread replies.

use crate::harness::{Client, Server, Setup, encode, key_on, ok};
use annulet::resp::Value;

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
