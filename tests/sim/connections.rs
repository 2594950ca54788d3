//! Connections that break, hang up, are killed, flood, or do not read.

use crate::harness::linear::{run, wait_until};
use crate::harness::lockstep::Lockstep;
use crate::harness::{Client, Server, Setup, World, bulk, encode, int, key_on, ok};
use annulet::mesh::CREDITS_PER_PAIR;
use annulet::resp::Value;

/// Returns a pipeline that touches every shard, and the number of its replies.
fn pipeline(shards: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for at in 0..40 {
        bytes.extend(encode(&["INCR", &key_on(shards, at % shards, 0)]));
        bytes.extend(encode(&["MGET", "a", "b", "c", "d"]));
    }
    (bytes, 80)
}

#[test]
fn a_protocol_error_comes_after_the_replies_before_it() {
    for shards in [1, 2, 4, 7] {
        for seed in 0..8 {
            let mut server = Server::new(shards, seed);
            let mut client = server.client();
            let (mut bytes, replies) = pipeline(shards);
            bytes.extend(b"*1\r\n$x\r\n");
            bytes.extend(encode(&["SET", "after", "1"]));
            client.send_bytes(&bytes);
            for _ in 0..replies {
                assert!(!matches!(client.read(&mut server), Value::Error(_)));
            }
            let last = client.read(&mut server);
            let Value::Error(text) = last else { panic!("{last:?}") };
            assert!(text.starts_with(b"ERR Protocol error: "), "{}", text.escape_ascii());
            server.settle();
            assert!(client.is_closed());
            let mut other = server.client();
            assert_eq!(other.run(&mut server, ["GET", "after"]), Value::Null);
            server.check();
        }
    }
}

#[test]
fn commands_sent_before_the_end_of_input_run_and_get_replies() {
    for shards in [1, 2, 4, 7] {
        for seed in 0..20 {
            let mut server = Server::new(shards, seed);
            let mut client = server.client();
            let (bytes, replies) = pipeline(shards);
            client.send_bytes(&bytes);
            server.steps(seed);
            client.link.finish();
            for _ in 0..replies {
                client.read(&mut server);
            }
            server.settle();
            assert!(client.is_closed(), "seed {seed}");
            assert_eq!(server.connections(), 0);
            server.check();
        }
    }
}

#[test]
fn quit_sends_earlier_replies_and_nothing_later() {
    for shards in [1, 2, 4] {
        let mut server = Server::new(shards, 5);
        let mut client = server.client();
        let (mut bytes, replies) = pipeline(shards);
        bytes.extend(encode(&["QUIT"]));
        bytes.extend(encode(&["SET", "after", "1"]));
        client.send_bytes(&bytes);
        for _ in 0..replies {
            client.read(&mut server);
        }
        assert_eq!(client.read(&mut server), ok());
        server.settle();
        assert!(client.is_closed());
        let mut other = server.client();
        assert_eq!(other.run(&mut server, ["EXISTS", "after"]), int(0));
        server.check();
    }
}

/// Cuts connections after every possible number of turns; new ones reuse their numbers.
#[test]
fn cut_at_any_moment() {
    for shards in [1, 2, 3, 7] {
        for seed in 0..60 {
            let mut server = Server::new(shards, seed);
            let mut steady = server.client();
            for round in 0..4 {
                let mut victims: Vec<Client> = (0..5).map(|_| server.world.connect()).collect();
                for victim in &mut victims {
                    victim.send_bytes(&pipeline(shards).0);
                }
                server.steps(seed + round);
                for (at, victim) in victims.iter().enumerate() {
                    match at % 3 {
                        0 => victim.link.reset(),
                        1 => victim.link.close(),
                        _ => victim.link.finish(),
                    }
                    let turns = server.draw(4);
                    server.steps(turns);
                }
                assert_eq!(steady.run(&mut server, ["PING"]), Value::Simple(b"PONG".to_vec()));
                steady.send(&["MGET", "a", "b", "c", "d"]);
                assert_eq!(steady.read(&mut server), Value::Array(vec![Value::Null; 4]));
            }
            server.settle();
            assert_eq!(server.connections(), 1, "shards {shards} seed {seed}");
            server.check();
        }
    }
}

fn client_id(server: &mut Server, client: &mut Client) -> String {
    match client.run(server, ["CLIENT", "ID"]) {
        Value::Integer(id) => id.to_string(),
        other => panic!("{other:?}"),
    }
}

fn listed(server: &mut Server, client: &mut Client) -> Vec<String> {
    let (Value::Bulk(text) | Value::Verbatim(_, text)) = client.run(server, ["CLIENT", "LIST"])
    else {
        panic!("CLIENT LIST is a text")
    };
    String::from_utf8_lossy(&text).lines().map(str::to_string).collect()
}

#[test]
fn clients_are_listed_and_killed_over_shards() {
    for shards in [1, 2, 4, 7] {
        let mut server = Server::new(shards, 3);
        let mut clients: Vec<Client> = (0..15).map(|_| server.client()).collect();
        let ids: Vec<String> =
            clients.iter_mut().map(|client| client_id(&mut server, client)).collect();
        let (one, rest) = clients.split_first_mut().expect("there are 15 clients");
        let lines = listed(&mut server, one);
        assert_eq!(lines.len(), 15);
        for id in &ids {
            let start = format!("id={id} ");
            assert_eq!(lines.iter().filter(|line| line.starts_with(&start)).count(), 1);
        }
        let number = |line: &String| -> u64 {
            let id = line.split(' ').next().and_then(|word| word.strip_prefix("id="));
            id.and_then(|id| id.parse().ok()).expect("a line begins with an id")
        };
        assert!(lines.iter().map(number).is_sorted(), "{shards} shards: {lines:?}");
        for (client, id) in rest.iter_mut().zip(&ids[1..]).take(5) {
            assert_eq!(one.run(&mut server, ["CLIENT", "KILL", "ID", id]), int(1));
            server.settle();
            assert!(client.is_closed());
            assert_eq!(one.run(&mut server, ["CLIENT", "KILL", "ID", id]), int(0));
        }
        assert_eq!(listed(&mut server, one).len(), 10);
        assert_eq!(one.run(&mut server, ["CLIENT", "KILL", "TYPE", "normal"]), int(9));
        server.settle();
        assert!(rest.iter_mut().all(Client::is_closed));
        let own = ids[0].as_str();
        let killed = one.run(&mut server, ["CLIENT", "KILL", "ID", own, "SKIPME", "no"]);
        assert_eq!(killed, int(1), "the reply comes before the end");
        server.settle();
        assert!(one.is_closed());
        assert_eq!(server.connections(), 0);
        server.check();
    }
}

/// Kills clients whose batches are in flight, after every possible number of turns.
#[test]
fn killed_in_flight() {
    for shards in [2, 4] {
        for seed in 0..60 {
            let mut server = Server::new(shards, seed);
            let mut killer = server.client();
            let mut victims: Vec<Client> = (0..6).map(|_| server.client()).collect();
            for victim in &mut victims {
                victim.send_bytes(&pipeline(shards).0);
            }
            server.steps(seed);
            killer.send(&["CLIENT", "KILL", "TYPE", "normal"]);
            assert_eq!(killer.read(&mut server), int(6));
            let mut late = server.client();
            assert_eq!(late.run(&mut server, ["GET", "a"]), Value::Null);
            assert!(victims.iter().all(|victim| victim.link.is_closed() || {
                victim.link.read();
                victim.link.is_closed()
            }));
            assert_eq!(server.connections(), 2);
            server.check();
        }
    }
}

/// More connections than credits, whose commands all go to one other shard.
#[test]
fn credits_run_out_and_every_connection_is_served() {
    for (shards, seed) in [(2, 0), (2, 1), (3, 2), (4, 3)] {
        let mut server = Server::new(shards, seed);
        let count = shards * CREDITS_PER_PAIR as usize + 200;
        let mut clients: Vec<Client> = (0..count).map(|_| server.client()).collect();
        let key = key_on(shards, shards - 1, 0);
        for client in &mut clients {
            client.send_bytes(&encode(&["INCR", &key]).repeat(3));
            client.send(&["MGET", &key_on(shards, 0, 0), &key]);
        }
        // A client that hangs up while it waits for credit is still served.
        for client in clients.iter().skip(count - 100) {
            client.link.finish();
        }
        for home in 0..shards - 1 {
            server.turns_of(home, 200);
        }
        server.settle();
        let mut sum = 0;
        for client in &mut clients {
            for _ in 0..3 {
                let Value::Integer(now) = client.read(&mut server) else { panic!("a number") };
                sum += now;
            }
            assert!(matches!(client.read(&mut server), Value::Array(_)));
        }
        let total = 3 * count as i64;
        assert_eq!(sum, total * (total + 1) / 2, "every number came once");
        let stalled = server.world.process.boards.iter();
        let stalled: u64 = stalled.map(|board| board.counters.stalled_on_credits.get()).sum();
        assert!(stalled > 0, "credits did run out");
        server.check();
        assert_eq!(server.connections(), count - 100);
    }
}

/// While shard 0 has no credits to shard 1, it serves commands on its own keys and session
/// commands. When credits return, it does not park over the connections that waited for them.
#[test]
fn a_shard_without_credits_serves_all_other_commands() {
    let credits = CREDITS_PER_PAIR as usize;
    let lockstep = Lockstep::new(3, 2);
    let world = World::new(Setup { preempt: Some(lockstep.clone()), ..Setup::new(2, 2) });
    let counters = &world.process.boards.board(0).counters;
    run(&world, &lockstep, None, || {
        let mut clients = Vec::new();
        for at in 0..2 * (credits + 200) {
            clients.push(world.connect());
            let accepted = || counters.connections_received.get() > at as u64;
            wait_until(&lockstep, "a connection is accepted", accepted);
        }
        // Shard 0 has every other connection. Connections that are not adopted yet are frozen with
        // shard 1.
        let mut at_home: Vec<Client> = clients.into_iter().step_by(2).collect();
        lockstep.freeze(1, true);
        // No shard may borrow its partition meanwhile, if it was parked when it was frozen.
        let is_held = world.mesh.try_hold(1);
        let (remote, rest) = at_home.split_at_mut(credits);
        for client in remote.iter_mut() {
            client.send(&["INCR", &key_on(2, 1, 0)]);
        }
        let posted = || counters.envelopes_posted.get() == credits as u64;
        wait_until(&lockstep, "all credits are used", posted);
        let (stalled, local) = rest.split_at_mut(100);
        for client in stalled.iter_mut() {
            client.send_bytes(&encode(&["GET", &key_on(2, 0, 0)]));
            client.send_bytes(&encode(&["GET", &key_on(2, 1, 0)]).repeat(3));
            client.send(&["PING"]);
        }
        let are_stalled = || counters.stalled_on_credits.get() >= stalled.len() as u64;
        wait_until(&lockstep, "connections are stalled", are_stalled);
        for client in local.iter_mut() {
            client.send(&["PING"]);
            client.send(&["INCR", &key_on(2, 0, 0)]);
        }
        for client in local.iter_mut() {
            wait_until(&lockstep, "PONG", || client.try_read().is_some());
            wait_until(&lockstep, "a number", || client.try_read().is_some());
        }
        lockstep.freeze(1, false);
        if is_held {
            world.mesh.let_go(1, true);
        }
        for client in remote {
            wait_until(&lockstep, "a reply", || client.try_read().is_some());
        }
        for client in stalled {
            for _ in 0..5 {
                wait_until(&lockstep, "a reply", || client.try_read().is_some());
            }
        }
    });
}

/// A transaction that holds the lock on a key stops the clients that use this key, and no others,
/// however many they are. It asks all shards often, and gets an answer each time.
#[test]
fn clients_of_a_locked_key_stop_no_others() {
    let (shards, count) = (2, 2 * CREDITS_PER_PAIR as usize + 100);
    let lockstep = Lockstep::new(shards + 1, 5);
    let world = World::new(Setup { preempt: Some(lockstep.clone()), ..Setup::new(shards, 5) });
    run(&world, &lockstep, None, || {
        let mut clients: Vec<Client> = (0..count).map(|_| world.connect()).collect();
        let mut asker = world.connect();
        let (hot, cold) = (key_on(shards, 1, 0), key_on(shards, 1, 1));
        asker.send(&["MULTI"]);
        asker.send(&["INCR", &hot]);
        for _ in 0..300 {
            asker.send(&["CLIENT", "KILL", "ID", "999999"]);
        }
        asker.send(&["EXEC"]);
        for client in &mut clients {
            client.send(&["INCR", &hot]);
            client.send(&["RENAME", &hot, &hot]);
        }
        let mut other = world.connect();
        for _ in 0..20 {
            other.send(&["PING"]);
            other.send(&["GET", &cold]);
            wait_until(&lockstep, "PONG", || other.try_read().is_some());
            wait_until(&lockstep, "null", || other.try_read().is_some());
        }
        for _ in 0..302 {
            wait_until(&lockstep, "OK or QUEUED", || asker.try_read().is_some());
        }
        let mut reply = None;
        wait_until(&lockstep, "all replies", || {
            reply = asker.try_read();
            reply.is_some()
        });
        assert!(matches!(reply, Some(Value::Array(replies)) if replies.len() == 301));
        for client in &mut clients {
            wait_until(&lockstep, "a number", || client.try_read().is_some());
            wait_until(&lockstep, "OK", || client.try_read().is_some());
        }
    });
}

#[test]
fn a_client_that_does_not_read_gets_all_replies_and_delays_no_other() {
    const VALUE_BYTES: usize = 1 << 20;
    const GETS: usize = 400;
    for shards in [1, 2] {
        let mut server = Server::new(shards, 4);
        let mut good = server.client();
        let mut deaf: Vec<Client> = (0..2).map(|_| server.client()).collect();
        let value = vec![b'v'; VALUE_BYTES];
        for shard in 0..shards {
            good.send(&[b"SET", key_on(shards, shard, 0).as_bytes(), &value]);
            assert_eq!(good.read(&mut server), ok());
        }
        for client in &mut deaf {
            client.link.set_window(0);
            for at in 0..GETS {
                client.send(&["GET", &key_on(shards, at % shards, 0)]);
            }
        }
        server.settle();
        let held = server.buffered_bytes_max();
        assert!(held >= GETS * VALUE_BYTES, "{held} bytes are held");
        for shard in 0..shards {
            let key = key_on(shards, shard, 1);
            assert_eq!(good.run(&mut server, ["SET", &key, "1"]), ok());
            assert_eq!(good.run(&mut server, ["GET", &key]), bulk("1"));
        }
        let mut reader = deaf.pop().expect("there are two silent clients");
        reader.link.set_window(8 << 20);
        for _ in 0..GETS {
            assert!(matches!(reader.read(&mut server), Value::Bulk(v) if v.len() == VALUE_BYTES));
        }
        // The only limit is the client's own.
        let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 64mb 0 0"];
        assert_eq!(good.run(&mut server, limit), ok());
        server.advance_ms(2_000);
        assert!(deaf[0].link.is_closed());
        assert_eq!(server.connections(), 2);
        server.check();
    }
}

#[test]
fn maxclients_is_exact_and_its_places_are_reused() {
    for shards in [1, 3] {
        let mut setup = Setup::new(shards, 11);
        setup.config.maxclients = 10;
        let mut server = Server::with(setup);
        let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
        let mut refused = server.client();
        let last = refused.read(&mut server);
        assert_eq!(last, Value::Error(b"ERR max number of clients reached".to_vec()));
        server.settle();
        assert!(refused.is_closed());
        clients.remove(4).link.close();
        server.settle();
        let mut next = server.client();
        assert_eq!(next.run(&mut server, ["PING"]), Value::Simple(b"PONG".to_vec()));
        server.check();
    }
}

#[test]
fn idle_clients_are_disconnected_by_the_clock() {
    let mut setup = Setup::new(2, 12);
    setup.config.timeout = 5;
    let mut server = Server::with(setup);
    let (mut idle, mut busy) = (server.client(), server.client());
    assert_eq!(idle.run(&mut server, ["PING"]), Value::Simple(b"PONG".to_vec()));
    for _ in 0..70 {
        server.advance_ms(100);
        assert_eq!(busy.run(&mut server, ["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    assert!(idle.is_closed());
    assert!(!busy.is_closed());
    server.check();
}

/// More input than a connection may have queued: receiving pauses and resumes.
#[test]
fn a_long_pipeline_is_received_in_pieces() {
    for shards in [1, 3] {
        let mut server = Server::new(shards, 6);
        let mut client = server.client();
        let key = |at: usize| key_on(shards, at % shards, 0);
        let value = "v".repeat(1_000);
        for at in 0..3_000 {
            client.send(&["SET", &key(at), &value]);
            client.send(&["STRLEN", &key(at)]);
        }
        for _ in 0..3_000 {
            assert_eq!(client.read(&mut server), ok());
            assert_eq!(client.read(&mut server), int(1_000));
        }
        server.check();
    }
}

#[test]
fn a_stop_in_flight_ends_every_shard_and_connection() {
    for shards in [1, 2, 4] {
        for seed in 0..40 {
            let mut server = Server::new(shards, seed);
            let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
            for client in &mut clients[1..] {
                client.send_bytes(&pipeline(shards).0);
            }
            server.steps(seed);
            clients[0].send(&["SHUTDOWN", "NOSAVE"]);
            server.run_until_stopped();
            for client in &mut clients {
                while client.try_read().is_some() {}
                assert!(client.is_closed(), "whole replies only, then the end");
            }
        }
    }
}
