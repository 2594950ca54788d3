//! Commands that wait for keys: which client gets an element, and in which order.

use super::histories::{Borrowed, Repeat, seeds};
use crate::harness::linear::{borrows, run, wait_until};
use crate::harness::lockstep::{At, Lockstep};
use crate::harness::waiting::Waiting;
use crate::harness::{Client, Server, Setup, World, bulk, encode, int, key_on, list, ok};
use annulet::base::rng::Rng;
use annulet::config::Permission;
use annulet::mesh::Preempt;
use annulet::resp::Value;
use std::sync::Arc;

const SEEDS: u64 = 60;

/// Runs random clients; returns a hash of all replies, and how many partitions were borrowed.
fn wait_at_random(seed: u64, moves_slots: bool) -> (u64, u64) {
    let shards = 1 + Rng::new(seed).below(4) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let offloads = seed.is_multiple_of(3);
    let mut setup = Setup { preempt: Some(preempt), offloads, ..Setup::new(shards, seed) };
    setup.config.repl_diskless_sync_delay = 0;
    setup.scatters_slots = true;
    setup.moves_slots = moves_slots;
    let world = World::new(setup);
    let mut clients = None;
    run(&world, &lockstep, None, || {
        clients.insert(Waiting::new(&world)).drive(&world, &lockstep);
    });
    let clients = clients.expect("the run has set the clients");
    if let Some(wrong) = &clients.wrong {
        panic!("seed {seed}, {shards} shards: {wrong}");
    }
    (clients.fingerprint(), borrows(&world))
}

#[test]
fn no_element_is_lost_and_no_client_waits_in_vain() {
    let mut borrowed = Borrowed::default();
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "blocked");
        borrowed.add(wait_at_random(seed, false).1);
    }
    borrowed.check("blocked clients");
}

#[test]
fn no_client_waits_in_vain_while_slots_move() {
    let mut borrowed = Borrowed::default();
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "no_client_waits_in_vain_while");
        borrowed.add(wait_at_random(seed, true).1);
    }
    borrowed.check("blocked clients, moved");
}

#[test]
fn a_seed_of_waits_repeats() {
    assert_eq!(wait_at_random(5, false), wait_at_random(5, false));
    assert_ne!(wait_at_random(5, false), wait_at_random(6, false));
}

/// Creates a server with `count` clients on its shards.
fn clients(shards: usize, seed: u64, count: usize) -> (Server, Vec<Client>) {
    let mut server = Server::new(shards, seed);
    let clients = (0..count).map(|_| server.client()).collect();
    (server, clients)
}

/// Sends a command that has to wait.
fn block(server: &mut Server, client: &mut Client, args: &[&str]) {
    client.send(args);
    server.settle();
    assert_eq!(client.try_read(), None, "{args:?} waits");
}

#[test]
fn the_first_to_wait_is_served_first() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2), (4, 3)] {
        let (mut server, mut all) = clients(shards, seed, 5);
        let mut pusher = server.client();
        let key = key_on(shards, shards - 1, 0);
        for client in &mut all {
            block(&mut server, client, &["BLPOP", "other", &key, "0"]);
        }
        assert_eq!(pusher.run(&mut server, ["RPUSH", &key, "a", "b", "c"]), int(3));
        for (client, element) in all.iter_mut().zip(["a", "b", "c"]) {
            assert_eq!(client.read(&mut server), list(&[&key, element]));
        }
        assert_eq!(pusher.run(&mut server, ["EXISTS", &key]), int(0));
        all[3].link.reset();
        server.settle();
        assert_eq!(pusher.run(&mut server, ["RPUSH", "other", "d"]), int(1));
        assert_eq!(all[4].read(&mut server), list(&["other", "d"]));
        server.check();
    }
}

#[test]
fn a_client_that_left_takes_nothing() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut all) = clients(shards, seed, 3);
        let mut pusher = server.client();
        let keys: Vec<String> = (0..shards).map(|shard| key_on(shards, shard, 3)).collect();
        let mut args = vec!["BRPOP"];
        args.extend(keys.iter().map(String::as_str));
        args.push("0");
        all.iter_mut().for_each(|client| block(&mut server, client, &args));
        all[0].link.reset();
        all[1].link.finish();
        all[2].link.close();
        server.settle();
        for key in &keys {
            assert_eq!(pusher.run(&mut server, ["RPUSH", key, "v"]), int(1));
            assert_eq!(pusher.run(&mut server, ["LLEN", key]), int(1));
        }
        assert_eq!(server.connections(), 1);
        server.check();
    }
}

#[test]
fn timeouts_are_exact_to_the_millisecond() {
    for (shards, seed) in [(1, 0), (3, 1)] {
        let (mut server, mut all) = clients(shards, seed, 2);
        block(&mut server, &mut all[0], &["BLPOP", "a", "b", "c", "0.05"]);
        block(&mut server, &mut all[1], &["BLMOVE", "a", "b", "LEFT", "LEFT", "0.02"]);
        server.advance_ms(20);
        assert_eq!(all[1].try_read(), None);
        server.advance_ms(1);
        assert_eq!(all[1].read(&mut server), Value::Null);
        server.advance_ms(29);
        assert_eq!(all[0].try_read(), None);
        server.advance_ms(1);
        assert_eq!(all[0].read(&mut server), Value::Null);
        assert_eq!(all[1].run(&mut server, ["RPUSH", "a", "v"]), int(1));
        assert_eq!(all[0].run(&mut server, ["LPOP", "a"]), bulk("v"));
        server.check();
    }
}

#[test]
fn an_element_passes_through_a_chain() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        let (mut server, mut all) = clients(shards, seed, 4);
        let mut pusher = server.client();
        let keys: Vec<String> = (0..4).map(|at| key_on(shards, at % shards, at)).collect();
        for at in 0..3 {
            let args = ["BLMOVE", &keys[at], &keys[at + 1], "LEFT", "LEFT", "0"];
            block(&mut server, &mut all[at], &args);
        }
        block(&mut server, &mut all[3], &["BLPOP", &keys[3], "0"]);
        assert_eq!(pusher.run(&mut server, ["RPUSH", &keys[0], "v"]), int(1));
        // The element has passed through the chain before the reply of its push.
        assert_eq!(pusher.run(&mut server, ["EXISTS", &keys[0]]), int(0));
        for client in &mut all[..3] {
            assert_eq!(client.read(&mut server), bulk("v"));
        }
        assert_eq!(all[3].read(&mut server), list(&[&keys[3], "v"]));
        server.check();
    }
}

#[test]
fn a_transaction_wakes_at_its_end() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut all) = clients(shards, seed, 2);
        let mut pusher = server.client();
        let (first, second) = (key_on(shards, 0, 0), key_on(shards, shards - 1, 1));
        block(&mut server, &mut all[0], &["BLPOP", &first, &second, "0"]);
        pusher.run(&mut server, ["MULTI"]);
        for args in [["RPUSH", &first, "a"], ["RPUSH", &first, "b"], ["LPUSH", &first, "c"]] {
            pusher.run(&mut server, args);
        }
        pusher.run(&mut server, ["RENAME", &first, &second]);
        let replies = Value::Array(vec![int(1), int(2), int(3), ok()]);
        assert_eq!(pusher.run(&mut server, ["EXEC"]), replies);
        assert_eq!(all[0].read(&mut server), list(&[&second, "c"]));
        assert_eq!(pusher.run(&mut server, ["LRANGE", &second, "0", "-1"]), list(&["a", "b"]));
        server.check();
    }
}

/// Runs commands as one transaction.
fn exec(server: &mut Server, client: &mut Client, commands: &[&[&str]]) -> Value {
    client.send(&["MULTI"]);
    commands.iter().for_each(|args| client.send(args));
    client.send(&["EXEC"]);
    assert_eq!(client.read(server), ok());
    for _ in commands {
        client.read(server);
    }
    client.read(server)
}

#[test]
fn a_key_that_expires_within_its_transaction_serves_nobody() {
    for shards in [1, 4] {
        let mut setup = Setup::new(shards, 6);
        setup.config.enable_debug_command = Permission::Yes;
        let mut server = Server::with(setup);
        let (mut pusher, mut waiter) = (server.client(), server.client());
        let key = key_on(shards, shards - 1, 0);
        block(&mut server, &mut waiter, &["BLPOP", &key, "30"]);
        let commands: [&[&str]; 3] =
            [&["RPUSH", &key, "a"], &["PEXPIRE", &key, "100"], &["DEBUG", "SLEEP", "0.2"]];
        let replies = exec(&mut server, &mut pusher, &commands);
        assert_eq!(replies, Value::Array(vec![int(1), int(1), ok()]));
        server.settle();
        assert!(waiter.try_read().is_none(), "the key had expired");
        assert_eq!(pusher.run(&mut server, ["RPUSH", &key, "b"]), int(1));
        assert_eq!(waiter.read(&mut server), list(&[&key, "b"]));
        server.check();
    }
}

#[test]
fn the_first_key_of_the_command_serves_after_a_transaction() {
    for (shards, seed) in [(1, 0), (2, 1), (2, 2), (4, 3), (4, 4)] {
        let (mut server, mut all) = clients(shards, seed, 2);
        let mut pusher = server.client();
        let keys: Vec<String> = (0..4).map(|at| key_on(shards, at % shards, at)).collect();
        for (first, second) in [(0, 1), (1, 0), (2, 0), (0, 2), (3, 2), (1, 3)] {
            let (first, second) = (&keys[first][..], &keys[second][..]);
            block(&mut server, &mut all[0], &["BLPOP", first, second, "0"]);
            let pushes: [&[&str]; 2] = [&["RPUSH", second, "1", "2"], &["RPUSH", first, "5", "6"]];
            let lengths = Value::Array(vec![int(2), int(2)]);
            assert_eq!(exec(&mut server, &mut pusher, &pushes), lengths);
            assert_eq!(all[0].try_read(), Some(list(&[first, "5"])));
            assert_eq!(pusher.run(&mut server, ["LRANGE", first, "0", "-1"]), list(&["6"]));
            assert_eq!(pusher.run(&mut server, ["DEL", first, second]), int(2));
            block(&mut server, &mut all[1], &["BZMPOP", "0", "2", first, second, "MIN"]);
            let adds: [&[&str]; 2] = [&["ZADD", second, "1", "m"], &["ZADD", first, "2", "n"]];
            exec(&mut server, &mut pusher, &adds);
            let pairs = Value::Array(vec![list(&["n", "2"])]);
            assert_eq!(all[1].try_read(), Some(Value::Array(vec![bulk(first), pairs])));
            assert_eq!(pusher.run(&mut server, ["DEL", first, second]), int(1));
        }
        server.check();
    }
}

#[test]
fn a_blocked_read_gets_all_streams_of_a_transaction() {
    let of = |key: &str, id: &str| {
        let entry = Value::Array(vec![bulk(id), list(&["f", "v"])]);
        Value::Array(vec![bulk(key), Value::Array(vec![entry])])
    };
    for (shards, seed) in [(1, 0), (2, 1), (2, 2), (4, 3), (4, 4)] {
        let (mut server, mut all) = clients(shards, seed, 2);
        let mut pusher = server.client();
        let keys: Vec<String> = (0..2).map(|at| key_on(shards, at % shards, at)).collect();
        let [one, two] = [0, 1].map(|at| &keys[at][..]);
        for key in [one, two] {
            pusher.run(&mut server, ["XGROUP", "CREATE", key, "g", "$", "MKSTREAM"]);
        }
        let group = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", one, two, ">", ">"];
        block(&mut server, &mut all[0], &group);
        block(&mut server, &mut all[1], &["XREAD", "BLOCK", "0", "STREAMS", two, one, "$", "1-5"]);
        let add = |id| [["XADD", one, id, "f", "v"], ["XADD", two, id, "f", "v"]];
        let adds = add("1-1");
        exec(&mut server, &mut pusher, &[&adds[0], &adds[1]]);
        let both = Value::Array(vec![of(one, "1-1"), of(two, "1-1")]);
        assert_eq!(all[0].try_read(), Some(both));
        assert_eq!(all[1].try_read(), Some(Value::Array(vec![of(two, "1-1")])));
        for key in [one, two] {
            let pending = pusher.run(&mut server, ["XPENDING", key, "g"]);
            assert!(matches!(&pending, Value::Array(of) if of[0] == int(1)), "{pending:?}");
        }
        // Both ids are larger than the added ones: the client stays blocked.
        block(&mut server, &mut all[1], &["XREAD", "BLOCK", "0", "STREAMS", two, one, "3", "3"]);
        let adds = add("2-1");
        exec(&mut server, &mut pusher, &[&adds[0], &adds[1]]);
        assert_eq!(all[1].try_read(), None);
        let adds = add("4-1");
        exec(&mut server, &mut pusher, &[&adds[0], &adds[1]]);
        let both = Value::Array(vec![of(two, "4-1"), of(one, "4-1")]);
        assert_eq!(all[1].try_read(), Some(both));
        server.check();
    }
}

/// A transaction wakes readers of a common stream and another one in vain. They wait for each
/// other's locks. Each looks once.
#[test]
fn readers_that_are_woken_in_vain_do_not_wake_each_other() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2)] {
        let (mut server, mut all) = clients(shards, seed, 200);
        let mut pusher = server.client();
        let keys: Vec<String> = (0..202).map(|at| key_on(shards, 0, at)).collect();
        let (stream, set) = (&keys[200][..], &keys[201][..]);
        let far = key_on(shards, shards - 1, 203);
        for (client, own) in all.iter_mut().zip(&keys) {
            block(&mut server, client, &["XREAD", "BLOCK", "0", "STREAMS", stream, own, "9", "9"]);
        }
        let union = ["SUNIONSTORE", set, &far, set];
        exec(&mut server, &mut pusher, &[&union, &["XADD", stream, "1-1", "f", "v"]]);
        assert!(all.iter_mut().all(|client| client.try_read().is_none()));
        exec(&mut server, &mut pusher, &[&union, &["XADD", stream, "10-1", "f", "v"]]);
        for client in &mut all {
            assert!(matches!(client.read(&mut server), Value::Array(_)));
        }
        server.check();
    }
}

#[test]
fn a_batch_wakes_between_its_commands() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2), (4, 3)] {
        let (mut server, mut all) = clients(shards, seed, 2);
        let mut pusher = server.client();
        let key = key_on(shards, shards - 1, 2);
        block(&mut server, &mut all[0], &["BRPOP", &key, "0"]);
        for args in [["RPUSH", &key, "a"], ["RPUSH", &key, "b"], ["LPUSH", &key, "c"]] {
            pusher.send(&args);
        }
        assert_eq!(all[0].read(&mut server), list(&[&key, "a"]));
        for length in [1, 1, 2] {
            assert_eq!(pusher.read(&mut server), int(length));
        }
        server.check();
    }
}

/// Any number of replies wait for clients that the commands have unblocked, and each reply only for
/// its own.
#[test]
fn many_replies_wait_for_the_clients_that_they_unblock() {
    const PAIRS: usize = 150;
    for (shards, seed) in [(2, 1), (3, 2), (4, 3)] {
        let (mut server, mut waiters) = clients(shards, seed, PAIRS);
        let mut pushers: Vec<Client> = (0..PAIRS).map(|_| server.client()).collect();
        let source = |at: usize| key_on(shards, 0, at);
        let target = key_on(shards, 1, PAIRS);
        for (at, waiter) in waiters.iter_mut().enumerate() {
            block(&mut server, waiter, &["BLMOVE", &source(at), &target, "LEFT", "RIGHT", "0"]);
        }
        for (at, pusher) in pushers.iter_mut().enumerate() {
            // PING ends the batch of RPUSH. Commands of one batch run without a break.
            pusher.send(&["RPUSH", &source(at), "item"]);
            pusher.send(&["PING"]);
            pusher.send(&["EXISTS", &source(at)]);
        }
        server.settle();
        for client in &mut pushers {
            assert_eq!(client.read(&mut server), int(1));
            assert_eq!(client.read(&mut server), Value::Simple(b"PONG".to_vec()));
            assert_eq!(client.read(&mut server), int(0), "the item was moved before the reply");
        }
        for client in &mut waiters {
            assert_eq!(client.read(&mut server), bulk("item"));
        }
        server.check();
    }
}

/// Movers wait for a list that transactions lock. A push that waited for the lock may run while
/// another shard has borrowed the partition. Its reply then waits for a mover of the same shard,
/// which leaves before that shard runs again.
fn push_to_leaving_movers(seed: u64) -> u64 {
    const ROUNDS: usize = 40;
    let lockstep = Lockstep::new(3, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let world = World::new(Setup { preempt: Some(preempt), ..Setup::new(2, seed) });
    let [source, target, other] = [(0, 0), (1, 1), (1, 2)].map(|(on, at)| key_on(2, on, at));
    let mut rng = Rng::new(seed);
    let mut pass = |most: u64| (0..rng.below(most)).for_each(|_| lockstep.pass(At::Client));
    run(&world, &lockstep, None, || {
        let mut clients: Vec<Client> = (0..8).map(|_| world.connect()).collect();
        for _ in 0..ROUNDS {
            clients[0].send(&["DEL", &source, &target]);
            wait_until(&lockstep, "the reply has come", || {
                clients[0].pump();
                clients[0].try_read().is_some()
            });
            let mut movers: Vec<Client> = (0..3).map(|_| world.connect()).collect();
            for mover in &mut movers {
                mover.send(&["BLMOVE", &source, &target, "LEFT", "LEFT", "0"]);
            }
            (0..400).for_each(|_| lockstep.pass(At::Client));
            let (pushers, lockers) = clients.split_at_mut(4);
            for locker in &mut *lockers {
                locker.send(&["SUNIONSTORE", &other, &source, "no-set"]);
            }
            pass(100);
            pushers.iter_mut().for_each(|pusher| pusher.send(&["RPUSH", &source, "item"]));
            pass(100);
            lockstep.freeze(0, true);
            movers.iter_mut().for_each(|mover| mover.link.reset());
            pass(400);
            lockstep.freeze(0, false);
            for client in &mut clients {
                wait_until(&lockstep, "the reply has come", || {
                    client.pump();
                    client.try_read().is_some()
                });
            }
        }
        (0..2_000).for_each(|_| lockstep.pass(At::Client));
    });
    borrows(&world)
}

#[test]
fn no_reply_waits_for_a_client_that_left() {
    let mut borrowed = Borrowed::default();
    for seed in seeds(12) {
        let _repeat = Repeat(seed, "no_reply_waits_for_a_client_that_left");
        borrowed.add(push_to_leaving_movers(seed));
    }
    borrowed.check("pushes to movers that leave");
}

/// The replies of a large transaction are merged in steps. Meanwhile the clients that it has
/// unblocked are served, and they unblock further ones.
#[test]
fn a_large_transaction_waits_for_the_clients_that_it_unblocks() {
    const HOPS: usize = 6;
    for seed in seeds(20) {
        let _repeat = Repeat(seed, "a_large_transaction_waits");
        let mut server = Server::with(Setup { offloads: true, ..Setup::new(3, seed) });
        let mut pusher = server.client();
        let mut movers: Vec<Client> = (0..HOPS).map(|_| server.client()).collect();
        let keys: Vec<String> = (0..=HOPS).map(|at| key_on(3, at % 3, at)).collect();
        for _ in 0..6 {
            for (at, mover) in movers.iter_mut().enumerate() {
                block(
                    &mut server,
                    mover,
                    &["BLMOVE", &keys[at], &keys[at + 1], "LEFT", "LEFT", "0"],
                );
            }
            let set: &[&str] = &["SET", "x", "y"];
            let push: &[&str] = &["RPUSH", &keys[0], "item"];
            let commands: Vec<&[&str]> = std::iter::repeat_n(set, 40).chain([push]).collect();
            let Value::Array(replies) = exec(&mut server, &mut pusher, &commands) else {
                panic!("EXEC replies with an array");
            };
            assert_eq!(replies.len(), commands.len());
            assert_eq!(pusher.run(&mut server, ["LPOP", &keys[HOPS]]), bulk("item"));
            movers.iter_mut().for_each(|mover| assert_eq!(mover.read(&mut server), bulk("item")));
        }
        server.check();
    }
}

#[test]
fn a_read_without_block_is_one_of_a_batch() {
    let read = ["XREAD", "COUNT", "1", "STREAMS", "x", "0"];
    let in_group = ["XREADGROUP", "GROUP", "BLOCK", "me", "STREAMS", "x", ">"];
    for (block, batches) in [(None, 1), (Some("0"), 4)] {
        let mut server = Server::new(1, 4);
        let mut client = server.client();
        let first = ["XADD", "x", "1-1", "field", "value"];
        assert_eq!(client.run(&mut server, first), bulk("1-1"));
        assert_eq!(client.run(&mut server, ["XGROUP", "CREATE", "x", "BLOCK", "0"]), ok());
        let counters = &server.world.process.boards.board(0).counters;
        let before = counters.batches_local.get();
        let with_block = |args: &[&str], at: usize| {
            let mut args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
            if let Some(block) = block {
                args.splice(at..at, ["BLOCK".to_string(), block.to_string()]);
            }
            encode(&args)
        };
        let set = encode(&["SET", "a", "1"]);
        let reads = [with_block(&read, 1), with_block(&in_group, 4)];
        client.send_bytes(&[set.clone(), reads.concat(), set].concat());
        server.settle();
        let after = server.world.process.boards.board(0).counters.batches_local.get();
        assert_eq!(client.read(&mut server), ok());
        let found = client.read(&mut server);
        assert_eq!(client.read(&mut server), found);
        assert!(matches!(found, Value::Array(_)), "{found:?}");
        assert_eq!(client.read(&mut server), ok());
        assert_eq!(after - before, batches, "BLOCK {block:?}");
    }
}

/// A client sees the state after the commands that it has unblocked, also in one pipeline.
#[test]
fn a_pipeline_sees_what_its_push_has_unblocked() {
    for (shards, seed) in [(1, 0), (2, 1), (2, 2), (3, 3), (4, 4), (4, 5)] {
        let mut server = Server::new(shards, seed);
        let (mut mover, mut other) = (server.client(), server.client());
        let mut pushers: Vec<Client> = (0..shards).map(|_| server.client()).collect();
        let (from, to) = (key_on(shards, 0, 0), key_on(shards, shards - 1, 1));
        for (number, pusher) in pushers.iter_mut().enumerate() {
            // One client moves it there, or a second one moves it on.
            let hop = key_on(shards, 0, 1 + number);
            let next = if seed.is_multiple_of(2) { &to } else { &hop };
            block(&mut server, &mut mover, &["BLMOVE", &from, next, "LEFT", "RIGHT", "0"]);
            if *next == hop {
                block(&mut server, &mut other, &["BRPOPLPUSH", &hop, &to, "0"]);
            }
            let [item, len] = [format!("item {number}"), (number + 1).to_string()];
            let commands: [&[&str]; 6] = [
                &["SET", "before", &item],
                &["RPUSH", &from, &item],
                &["EXISTS", &from],
                &["LLEN", &to],
                &["SETRANGE", "before", "0", &len],
                &["LREM", &to, "0", &item],
            ];
            pusher.send_bytes(&commands.map(encode).concat());
            let told = format!("{shards} shards, pusher {number}");
            assert_eq!(pusher.read(&mut server), ok(), "{told}");
            assert_eq!(pusher.read(&mut server), int(1), "{told}");
            assert_eq!(pusher.read(&mut server), int(0), "{told}: it was moved");
            assert_eq!(pusher.read(&mut server), int(1), "{told}");
            assert_eq!(pusher.read(&mut server), int(item.len() as i64), "{told}");
            assert_eq!(pusher.read(&mut server), int(1), "{told}");
            if *next == hop {
                assert_eq!(other.read(&mut server), bulk(&item), "{told}");
            }
            assert_eq!(mover.read(&mut server), bulk(&item), "{told}");
        }
        server.check();
    }
}
