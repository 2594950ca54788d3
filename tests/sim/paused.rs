//! CLIENT PAUSE over all shards: which commands wait, and that none is lost or reordered.

use super::histories::{Borrowed, Repeat, seeds};
use crate::harness::linear::{borrows, run, wait_until};
use crate::harness::lockstep::{At, Lockstep};
use crate::harness::{Client, Server, Setup, World, bulk, encode, int, key_on, list, ok};
use annulet::base::rng::Rng;
use annulet::mesh::Preempt;
use annulet::resp::Value;
use std::sync::Arc;

const SEEDS: u64 = 60;
/// Pauses of a run under the lockstep scheduler.
const PAUSES: usize = 6;

/// Creates a server with `count` clients on its shards.
fn clients(shards: usize, seed: u64, count: usize) -> (Server, Vec<Client>) {
    let mut server = Server::new(shards, seed);
    let clients = (0..count).map(|_| server.client()).collect();
    (server, clients)
}

/// Sends a command that has to wait.
fn postpone(server: &mut Server, client: &mut Client, args: &[&str]) {
    client.send(args);
    server.settle();
    assert_eq!(client.try_read(), None, "{args:?} waits");
}

/// Returns a field of INFO.
fn info(server: &mut Server, client: &mut Client, field: &str) -> String {
    let Value::Bulk(text) = client.run(server, ["INFO", "clients"]) else { panic!("a text") };
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("the field is there").to_string()
}

#[test]
fn writes_wait_and_reads_do_not() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2), (4, 3)] {
        let (mut server, mut all) = clients(shards, seed, 4);
        let mut admin = server.client();
        let keys: Vec<String> = (0..4).map(|at| key_on(shards, at % shards, at)).collect();
        assert_eq!(admin.run(&mut server, ["CLIENT", "PAUSE", "100", "WRITE"]), ok());
        for (client, key) in all.iter_mut().zip(&keys) {
            assert_eq!(client.run(&mut server, ["GET", key]), Value::Null);
            postpone(&mut server, client, &["SET", key, "v"]);
            client.send(&["GET", key]);
        }
        server.settle();
        assert_eq!(info(&mut server, &mut admin, "blocked_clients"), "4");
        assert_eq!(info(&mut server, &mut admin, "paused_actions"), "write");
        assert_eq!(info(&mut server, &mut admin, "paused_timeout_milliseconds"), "100");
        let wrong = admin.run(&mut server, ["SET", "k"]);
        assert!(matches!(wrong, Value::Error(_)), "errors do not wait: {wrong:?}");
        server.advance_ms(99);
        assert!(all.iter_mut().all(|client| client.try_read().is_none()));
        server.advance_ms(2);
        for client in &mut all {
            assert_eq!(client.read(&mut server), ok());
            assert_eq!(client.read(&mut server), bulk("v"));
        }
        assert_eq!(info(&mut server, &mut admin, "blocked_clients"), "0");
        assert_eq!(info(&mut server, &mut admin, "paused_reason"), "none");
        server.check();
    }
}

#[test]
fn the_stricter_pause_and_the_later_end_win() {
    for (shards, seed) in [(1, 0), (3, 1)] {
        let (mut server, mut all) = clients(shards, seed, 3);
        assert_eq!(all[0].run(&mut server, ["CLIENT", "PAUSE", "200"]), ok());
        for (client, args) in
            all.iter_mut().zip([&["CLIENT", "UNPAUSE"][..], &["GET", "k"], &["PING"]])
        {
            postpone(&mut server, client, args);
        }
        server.advance_ms(201);
        assert_eq!(all[0].read(&mut server), ok());
        assert_eq!(all[1].read(&mut server), Value::Null);
        assert_eq!(all[2].read(&mut server), Value::Simple(b"PONG".to_vec()));
        server.check();
    }
}

#[test]
fn a_writing_transaction_waits_and_a_pausing_one_completes() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut all) = clients(shards, seed, 3);
        let (first, second) = (key_on(shards, 0, 0), key_on(shards, shards - 1, 1));
        assert_eq!(all[0].run(&mut server, ["MULTI"]), ok());
        all[0].run(&mut server, ["SET", &first, "a"]);
        assert_eq!(all[1].run(&mut server, ["MULTI"]), ok());
        for args in [&["SET", &first, "b"][..], &["CLIENT", "PAUSE", "1000", "WRITE"]] {
            all[1].send(args);
            all[1].read(&mut server);
        }
        all[1].run(&mut server, ["SET", &second, "c"]);
        let replies = Value::Array(vec![ok(), ok(), ok()]);
        assert_eq!(all[1].run(&mut server, ["EXEC"]), replies);
        postpone(&mut server, &mut all[0], &["EXEC"]);
        assert_eq!(all[2].run(&mut server, ["MULTI"]), ok());
        all[2].run(&mut server, ["GET", &first]);
        all[2].run(&mut server, ["GET", &second]);
        assert_eq!(all[2].run(&mut server, ["EXEC"]), list(&["b", "c"]));
        assert_eq!(all[2].run(&mut server, ["CLIENT", "UNPAUSE"]), ok());
        assert_eq!(all[0].read(&mut server), Value::Array(vec![ok()]));
        assert_eq!(all[2].run(&mut server, ["GET", &first]), bulk("a"));
        server.check();
    }
}

#[test]
fn scripts_that_declare_to_only_read_do_not_wait() {
    for (shards, seed) in [(1, 0), (3, 1)] {
        let (mut server, mut all) = clients(shards, seed, 3);
        let (first, second) = (key_on(shards, 0, 0), key_on(shards, shards - 1, 1));
        let (reads, writes) = ("#!lua flags=no-writes\nreturn 7", "#!lua\nreturn 7");
        let library = "#!lua name=lib\nserver.register_function{function_name='f', \
                       callback=function() return 7 end, flags={'no-writes'}}";
        assert_eq!(all[0].run(&mut server, ["FUNCTION", "LOAD", library]), bulk("lib"));
        let Value::Bulk(sha) = all[0].run(&mut server, ["SCRIPT", "LOAD", reads]) else {
            panic!("a digest")
        };
        let sha = String::from_utf8(sha).expect("digits");
        all[2].run(&mut server, ["MULTI"]);
        all[2].run(&mut server, ["EVAL", writes, "0"]);
        assert_eq!(all[0].run(&mut server, ["CLIENT", "PAUSE", "100000", "WRITE"]), ok());
        for (name, what) in [("EVAL", reads), ("EVALSHA", &*sha), ("FCALL", "f")] {
            let reply = all[1].run(&mut server, [name, what, "2", &first, &second]);
            assert_eq!(reply, int(7), "{name}");
        }
        all[1].run(&mut server, ["MULTI"]);
        all[1].run(&mut server, ["EVAL", reads, "0"]);
        assert_eq!(all[1].run(&mut server, ["EXEC"]), Value::Array(vec![int(7)]));
        postpone(&mut server, &mut all[2], &["EXEC"]);
        postpone(&mut server, &mut all[1], &["EVAL", writes, "0"]);
        assert_eq!(all[0].run(&mut server, ["CLIENT", "PAUSE", "100000", "ALL"]), ok());
        postpone(&mut server, &mut all[0], &["EVAL", reads, "0"]);
        server.advance_ms(100_001);
        assert_eq!(all[0].read(&mut server), int(7));
        assert_eq!(all[1].read(&mut server), int(7));
        assert_eq!(all[2].read(&mut server), Value::Array(vec![int(7)]));
        server.check();
    }
}

#[test]
fn blocked_clients_are_served_after_the_pause() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut all) = clients(shards, seed, 3);
        let key = key_on(shards, shards - 1, 0);
        postpone(&mut server, &mut all[0], &["BLPOP", &key, "0"]);
        assert_eq!(all[1].run(&mut server, ["MULTI"]), ok());
        all[1].run(&mut server, ["CLIENT", "PAUSE", "1000", "WRITE"]);
        all[1].run(&mut server, ["RPUSH", &key, "v"]);
        let replies = Value::Array(vec![ok(), int(1)]);
        assert_eq!(all[1].run(&mut server, ["EXEC"]), replies);
        assert_eq!(all[0].try_read(), None);
        assert_eq!(all[1].run(&mut server, ["LLEN", &key]), int(1));
        postpone(&mut server, &mut all[2], &["BLPOP", &key, "0"]);
        assert_eq!(all[1].run(&mut server, ["CLIENT", "UNPAUSE"]), ok());
        assert_eq!(all[0].read(&mut server), list(&[&key, "v"]));
        assert_eq!(all[1].run(&mut server, ["RPUSH", &key, "w"]), int(1));
        assert_eq!(all[2].read(&mut server), list(&[&key, "w"]));
        server.check();
    }
}

#[test]
fn expired_keys_are_hidden_but_kept() {
    for (shards, seed) in [(1, 0), (2, 1)] {
        let (mut server, mut all) = clients(shards, seed, 1);
        let client = &mut all[0];
        let key = key_on(shards, shards - 1, 0);
        assert_eq!(client.run(&mut server, ["SET", &key, "v", "PX", "10"]), ok());
        assert_eq!(client.run(&mut server, ["CLIENT", "PAUSE", "1000", "WRITE"]), ok());
        server.advance_ms(500);
        assert_eq!(client.run(&mut server, ["GET", &key]), Value::Null);
        assert_eq!(client.run(&mut server, ["DBSIZE"]), int(1));
        assert_eq!(client.run(&mut server, ["CLIENT", "UNPAUSE"]), ok());
        assert_eq!(client.run(&mut server, ["GET", &key]), Value::Null);
        assert_eq!(client.run(&mut server, ["DBSIZE"]), int(0));
        server.check();
    }
}

#[test]
fn clients_that_leave_during_a_pause_leave_nothing_behind() {
    for (shards, seed) in [(1, 0), (4, 1)] {
        let (mut server, mut all) = clients(shards, seed, 6);
        let mut admin = server.client();
        assert_eq!(admin.run(&mut server, ["CLIENT", "PAUSE", "1000", "WRITE"]), ok());
        for client in &mut all {
            postpone(&mut server, client, &["INCR", "k"]);
        }
        all[0].link.reset();
        all[1].link.close();
        all[2].link.finish();
        server.settle();
        assert_eq!(info(&mut server, &mut admin, "blocked_clients"), "3");
        assert_eq!(admin.run(&mut server, ["CLIENT", "UNPAUSE"]), ok());
        for client in &mut all[3..] {
            assert!(matches!(client.read(&mut server), Value::Integer(1..=3)));
        }
        assert_eq!(admin.run(&mut server, ["GET", "k"]), bulk("3"));
        assert_eq!(server.connections(), 4);
        server.check();
    }
}

/// Clients that count on their own keys of all shards, while another client pauses and resumes.
#[test]
fn nothing_is_lost_and_nothing_reordered() {
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "paused");
        let shards = 1 + (seed % 4) as usize;
        let (mut server, mut all) = clients(shards, seed, 6);
        let mut admin = server.client();
        let mut sent = [0; 6];
        for round in 0..12 {
            for (at, client) in all.iter_mut().enumerate() {
                let mut bytes = Vec::new();
                for _ in 0..server.draw(20) {
                    let shard = server.draw(shards as u64) as usize;
                    let key = key_on(shards, shard, at);
                    bytes.extend(encode(&["INCR", &key]));
                    bytes.extend(encode(&["GET", &key]));
                    bytes.extend(encode(&["INCR", &format!("all:{at}")]));
                    sent[at] += 1;
                }
                client.send_bytes(&bytes);
            }
            let turns = server.draw(30);
            server.steps(turns);
            let kind = ["WRITE", "ALL"][round % 2];
            let before = kind == "WRITE";
            assert_eq!(admin.run(&mut server, ["CLIENT", "PAUSE", "1000", kind]), ok());
            if before {
                // After the OK of the pause, no command in progress changes a key.
                let count = |server: &mut Server, admin: &mut Client| -> Vec<Value> {
                    let keys = (0..6).map(|at| format!("all:{at}"));
                    keys.map(|key| admin.run(server, ["GET", &key])).collect()
                };
                let first = count(&mut server, &mut admin);
                server.settle();
                assert_eq!(count(&mut server, &mut admin), first);
                assert_eq!(admin.run(&mut server, ["CLIENT", "UNPAUSE"]), ok());
            } else {
                server.advance_ms(1_001);
            }
        }
        for (at, client) in all.iter_mut().enumerate() {
            let mut shown = Value::Null;
            for number in 0..sent[at] {
                let counted = client.read(&mut server);
                let Value::Integer(counted) = counted else { panic!("{counted:?}") };
                shown = client.read(&mut server);
                assert_eq!(shown, bulk(&counted.to_string()));
                assert_eq!(client.read(&mut server), int(number + 1));
            }
            assert!(sent[at] == 0 || shown != Value::Null);
        }
        server.check();
    }
}

/// Waits for the next reply of a client.
fn reply_of(client: &mut Client, lockstep: &Lockstep) -> Value {
    let mut reply = None;
    wait_until(lockstep, "a reply", || {
        reply = client.try_read();
        reply.is_some()
    });
    reply.expect("waited for")
}

/// Clients increment keys while another pauses writes and looks at the keys twice in each pause.
/// Returns how many partitions were borrowed.
fn pause_at_random(seed: u64) -> u64 {
    let mut rng = Rng::new(seed ^ 0x9a05e);
    let shards = 2 + rng.below(3) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let world = World::new(Setup { preempt: Some(preempt), ..Setup::new(shards, seed) });
    let keys: Vec<String> = (0..2 * shards).map(|at| key_on(shards, at % shards, at)).collect();
    run(&world, &lockstep, None, || {
        let mut admin = world.connect();
        let mut writers: Vec<Client> = (0..4).map(|_| world.connect()).collect();
        let (mut sent, mut came) = (0, 0);
        let mget: Vec<&str> = [&["MGET"][..], &Vec::from_iter(keys.iter().map(|k| &**k))].concat();
        for _ in 0..PAUSES {
            for _ in 0..rng.below(12) {
                let at = rng.below(4) as usize;
                let key = &keys[rng.below(keys.len() as u64) as usize];
                writers[at].send(&["INCR", key]);
                sent += 1;
                (0..rng.below(20)).for_each(|_| lockstep.pass(At::Client));
            }
            admin.send(&["CLIENT", "PAUSE", "100000", "WRITE"]);
            assert_eq!(reply_of(&mut admin, &lockstep), ok());
            admin.send(&mget);
            let before = reply_of(&mut admin, &lockstep);
            (0..rng.below(300)).for_each(|_| lockstep.pass(At::Client));
            admin.send(&mget);
            assert_eq!(reply_of(&mut admin, &lockstep), before, "a write ran in a pause");
            admin.send(&["CLIENT", "UNPAUSE"]);
            assert_eq!(reply_of(&mut admin, &lockstep), ok());
        }
        wait_until(&lockstep, "all replies", || {
            let replies = writers.iter_mut().filter_map(Client::try_read);
            came += replies.inspect(|reply| assert!(matches!(reply, Value::Integer(_)))).count();
            came == sent
        });
        admin.send(&mget);
        let Value::Array(values) = reply_of(&mut admin, &lockstep) else { panic!("a list") };
        let numbers = values.into_iter().filter_map(|value| match value {
            Value::Bulk(text) => String::from_utf8(text).ok()?.parse::<usize>().ok(),
            _ => None,
        });
        assert_eq!(numbers.sum::<usize>(), sent, "every write ran once");
    });
    borrows(&world)
}

#[test]
fn no_write_runs_in_a_pause_on_a_borrowed_partition() {
    let mut borrowed = Borrowed::default();
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "paused");
        borrowed.add(pause_at_random(seed));
    }
    borrowed.check("pauses");
}

/// Clients push to lists from which others move the items to another shard. Another client pauses
/// writes and looks at the target twice in each pause. Returns how many partitions were borrowed.
fn pause_movers(seed: u64) -> u64 {
    let mut rng = Rng::new(seed ^ 0x30fe);
    let lockstep = Lockstep::new(4, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let world = World::new(Setup { preempt: Some(preempt), ..Setup::new(3, seed) });
    let (from, to) = (key_on(3, 0, 0), key_on(3, 2, 0));
    run(&world, &lockstep, None, || {
        let mut admin = world.connect();
        let mut pusher = world.connect();
        let mut movers: Vec<Client> = (0..3).map(|_| world.connect()).collect();
        let mut moved = 0;
        for _ in 0..PAUSES {
            for mover in &mut movers {
                mover.send(&["BLMOVE", &from, &to, "LEFT", "LEFT", "0"]);
            }
            (0..300).for_each(|_| lockstep.pass(At::Client));
            pusher.send(&["RPUSH", &from, "a", "b", "c"]);
            (0..rng.below(40)).for_each(|_| lockstep.pass(At::Client));
            admin.send(&["CLIENT", "PAUSE", "100000", "WRITE"]);
            assert_eq!(reply_of(&mut admin, &lockstep), ok());
            admin.send(&["LLEN", &to]);
            let before = reply_of(&mut admin, &lockstep);
            (0..rng.below(300)).for_each(|_| lockstep.pass(At::Client));
            admin.send(&["LLEN", &to]);
            assert_eq!(reply_of(&mut admin, &lockstep), before, "an item moved in a pause");
            admin.send(&["CLIENT", "UNPAUSE"]);
            assert_eq!(reply_of(&mut admin, &lockstep), ok());
            assert_eq!(reply_of(&mut pusher, &lockstep), int(3));
            for mover in &mut movers {
                assert!(matches!(reply_of(mover, &lockstep), Value::Bulk(_)));
            }
            moved += 3;
            admin.send(&["LLEN", &to]);
            assert_eq!(reply_of(&mut admin, &lockstep), int(moved));
        }
    });
    borrows(&world)
}

#[test]
fn no_forwarded_command_runs_in_a_pause() {
    let mut borrowed = Borrowed::default();
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "no_forwarded_command_runs_in_a_pause");
        borrowed.add(pause_movers(seed));
    }
    borrowed.check("pauses of movers");
}

/// A borrower runs a push, which forwards a waiting command. The command reaches its home only
/// when the owner runs again. By then the home knows of a pause, and the owner does not.
#[test]
fn a_forwarded_command_that_comes_in_a_pause_waits_for_its_end() {
    let (mut server, mut all) = clients(3, 1, 6);
    let [from, to] = [key_on(3, 0, 0), key_on(3, 2, 0)];
    all[1].send(&["BLMOVE", &from, &to, "LEFT", "LEFT", "0"]);
    server.settle();
    all[2].send(&["RPUSH", &from, "item"]);
    server.turns_of(2, 2);
    all[5].send(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    for shard in [2, 1, 0, 2, 0, 1, 2] {
        server.turns_of(shard, 2);
    }
    assert_eq!(all[5].read(&mut server), ok());
    server.settle();
    assert_eq!(all[5].run(&mut server, ["LLEN", &to]), int(0), "an item moved in a pause");
    assert_eq!(all[2].read(&mut server), int(1), "the push was over before");
    assert_eq!(all[5].run(&mut server, ["CLIENT", "UNPAUSE"]), ok());
    assert_eq!(all[1].read(&mut server), bulk("item"));
    assert_eq!(all[5].run(&mut server, ["LLEN", &to]), int(1));
    server.check();
}
