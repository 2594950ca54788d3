//! Subscribers that do not read, that vanish, that have very many subscriptions; publishers that
//! are faster than a shard.

use crate::harness::{Client, Server, Setup, encode, int, list};
use annulet::pubsub::WAITING_WEIGHT_MAX;
use annulet::resp::Value;

/// Returns a client on the shard with this number. New clients go to the shard with the fewest.
fn clients(server: &mut Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| server.client()).collect()
}

/// Returns a server without subscriptions, after a check that nothing of them is left.
fn assert_forgotten(server: &mut Server, client: &mut Client) {
    server.settle();
    assert_eq!(client.run(server, ["PUBSUB", "CHANNELS"]), list(&[]));
    assert_eq!(client.run(server, ["PUBSUB", "SHARDCHANNELS"]), list(&[]));
    assert_eq!(client.run(server, ["PUBSUB", "NUMPAT"]), int(0));
    let Value::Bulk(text) = client.run(server, ["INFO", "clients"]) else { panic!("a text") };
    let text = String::from_utf8(text).expect("a text");
    assert!(text.contains("pubsub_clients:0\r\n"), "{text}");
}

fn subscribe(server: &mut Server, client: &mut Client) {
    client.send(&["SUBSCRIBE", "news", "other"]);
    client.send(&["PSUBSCRIBE", "n*"]);
    client.send(&["SSUBSCRIBE", "news"]);
    (0..4).for_each(|_| drop(client.read(server)));
}

#[test]
fn subscribers_that_vanish_are_forgotten() {
    for shards in [1, 2, 3] {
        for seed in 0..30 {
            let mut server = Server::new(shards, seed);
            let mut publisher = server.client();
            let mut subscribers = clients(&mut server, 4);
            for subscriber in &mut subscribers {
                subscribe(&mut server, subscriber);
            }
            assert_eq!(publisher.run(&mut server, ["PUBLISH", "news", "1"]), int(8));
            for (at, subscriber) in subscribers.iter_mut().enumerate() {
                for _ in 0..5 {
                    publisher.send(&["PUBLISH", "news", "x"]);
                    publisher.send(&["SPUBLISH", "news", "x"]);
                }
                server.steps(seed % 7);
                match at % 4 {
                    0 => subscriber.link.reset(),
                    1 => subscriber.link.close(),
                    2 => subscriber.send(&["QUIT"]),
                    _ => subscriber.send(&["RESET"]),
                }
                let turns = server.draw(5);
                server.steps(turns);
            }
            for _ in 0..2 * 5 * 4 {
                assert!(matches!(publisher.read(&mut server), Value::Integer(0..=8)));
            }
            assert_forgotten(&mut server, &mut publisher);
            server.check();
        }
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_disconnected() {
    for shards in [1, 3] {
        let mut setup = Setup::new(shards, 2);
        setup.config.client_output_buffer_limit.pubsub.hard_bytes = 100_000;
        let mut server = Server::with(setup);
        let mut publisher = server.client();
        let mut slow = clients(&mut server, 3);
        for subscriber in &mut slow {
            subscribe(&mut server, subscriber);
        }
        let payload = "x".repeat(20_000);
        let mut published = 0;
        while server.connections() > 1 {
            publisher.run(&mut server, ["PUBLISH", "news", &payload]);
            published += 1;
            assert!(published < 1_000, "the limit is reached");
        }
        assert_forgotten(&mut server, &mut publisher);
        assert!(server.buffered_bytes_max() < 100_000, "{}", server.buffered_bytes_max());
        server.check();
    }
}

#[test]
fn very_many_subscriptions_of_one_client() {
    const COUNT: usize = 10_000;
    for shards in [1, 2] {
        let mut server = Server::new(shards, 1);
        let mut publisher = server.client();
        let mut subscriber = server.client();
        for (command, suffix) in [("SUBSCRIBE", ""), ("PSUBSCRIBE", "*")] {
            let names = (0..COUNT).map(|at| format!("{at}:{suffix}"));
            let args: Vec<String> = [command.to_string()].into_iter().chain(names).collect();
            subscriber.send(&args);
            (0..COUNT).for_each(|_| drop(subscriber.read(&mut server)));
        }
        assert_eq!(publisher.run(&mut server, ["PUBLISH", "777:", "x"]), int(2));
        assert_eq!(publisher.run(&mut server, ["PUBLISH", "777:a", "x"]), int(1));
        assert_eq!(publisher.run(&mut server, ["PUBSUB", "NUMPAT"]), int(COUNT as i64));
        (0..3).for_each(|_| drop(subscriber.read(&mut server)));
        subscriber.send(&["UNSUBSCRIBE"]);
        subscriber.send(&["PUNSUBSCRIBE"]);
        for left in (0..2 * COUNT).rev() {
            let reply = subscriber.read(&mut server);
            let Value::Array(values) = &reply else { panic!("{reply:?}") };
            assert_eq!(values[2], int(left as i64));
        }
        assert_forgotten(&mut server, &mut publisher);
        server.check();
    }
}

#[test]
fn publishers_wait_for_a_shard_that_is_behind() {
    let mut server = Server::new(2, 3);
    let mut publisher = server.client();
    let mut subscriber = server.client();
    subscriber.send(&["SUBSCRIBE", "news"]);
    subscriber.read(&mut server);
    let count = 3 * WAITING_WEIGHT_MAX;
    let pipeline = encode(&["PUBLISH", "news", "x"]).repeat(count);
    publisher.send_bytes(&pipeline);
    for _ in 0..4_000 {
        server.turns_of(0, 1);
        publisher.pump();
        let waiting = server.world.mesh.depth(1);
        assert!(waiting <= WAITING_WEIGHT_MAX + 1_024, "{waiting} messages wait");
    }
    assert!(server.world.mesh.depth(1) > WAITING_WEIGHT_MAX / 2, "the other shard stood still");
    for _ in 0..count {
        assert_eq!(publisher.read(&mut server), int(1));
    }
    for _ in 0..count {
        assert!(matches!(subscriber.read(&mut server), Value::Array(_)));
    }
    server.check();
}

#[test]
fn a_subscriber_with_resp2_may_run_few_commands() {
    let mut server = Server::new(2, 1);
    let mut client = server.client();
    client.send(&["SUBSCRIBE", "a"]);
    client.read(&mut server);
    let refused = client.run(&mut server, ["CLIENT", "INFO"]);
    let expected = "ERR Can't execute 'client|info': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING \
                    / QUIT / RESET are allowed in this context";
    assert_eq!(refused, Value::Error(expected.into()));
    assert_eq!(client.run(&mut server, ["PING", "x"]), list(&["pong", "x"]));
    client.send(&["UNSUBSCRIBE"]);
    client.read(&mut server);
    assert_eq!(client.run(&mut server, ["PING", "x"]), Value::Bulk(b"x".to_vec()));
    server.check();
}
