//! Units with very many commands or keys, which go in steps at home and in slices at the owners.
//! The limits are so small here that every EXEC and every command on several keys is such a unit.

use super::offloaded::draw;
use crate::harness::{Client, Server, Setup, bulk, int, key_on, list, ok};
use annulet::base::rng::Rng;
use annulet::resp::Value;

const SEEDS: u64 = 30;
const TRANSACTIONS: usize = 25;

/// Creates a server; `is_stepping` makes the limits small.
fn server(shards: usize, seed: u64, is_stepping: bool) -> Server {
    Server::with(Setup { offloads: is_stepping, ..Setup::new(shards, seed) })
}

/// Sorts the elements of all arrays, because equal sets may have different orders.
fn sorted(value: Value) -> String {
    match value {
        Value::Array(values) | Value::Set(values) => {
            let mut texts: Vec<String> = values.into_iter().map(sorted).collect();
            texts.sort_unstable();
            format!("[{}]", texts.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// Returns a random transaction, perhaps behind WATCH, as a pipeline.
fn transaction(rng: &mut Rng) -> Vec<Vec<String>> {
    let own = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let mut commands = Vec::new();
    if rng.below(4) == 0 {
        commands.push(own("WATCH n:1 b:2 s:3"));
        if rng.below(2) == 0 {
            commands.push(draw(rng));
        }
    }
    commands.push(own("MULTI"));
    for _ in 0..rng.below(12) {
        let dice = rng.below(20);
        let others = ["PING", "SELECT 1", "SELECT 0", "DBSIZE", "KEYS *", "FLUSHDB"];
        let other = others.get(dice as usize);
        commands.push(other.map_or_else(|| draw(rng), |text| own(text)));
    }
    commands.push(own(if rng.below(10) == 0 { "DISCARD" } else { "EXEC" }));
    commands.push(own("SELECT 0"));
    commands
}

#[test]
fn a_transaction_in_steps_replies_as_in_one_step() {
    for seed in 0..SEEDS {
        let shards = 1 + seed as usize % 4;
        let (mut plain, mut stepping) = (server(shards, seed, false), server(shards, seed, true));
        let (mut one, mut other) = (plain.client(), stepping.client());
        let mut rng = Rng::new(seed);
        if seed % 2 == 1 {
            one.run(&mut plain, ["HELLO", "3"]);
            other.run(&mut stepping, ["HELLO", "3"]);
        }
        for _ in 0..TRANSACTIONS {
            let commands = transaction(&mut rng);
            for command in &commands {
                one.send(command);
                other.send(command);
            }
            for command in &commands {
                let expected = sorted(one.read(&mut plain));
                let reply = sorted(other.read(&mut stepping));
                assert_eq!(reply, expected, "seed {seed}: {command:?} of {commands:?}");
            }
        }
        let digests = [
            one.run(&mut plain, ["DEBUG", "DIGEST"]),
            other.run(&mut stepping, ["DEBUG", "DIGEST"]),
        ];
        assert_eq!(digests[0], digests[1], "seed {seed}");
        plain.check();
        stepping.check();
    }
}

/// Sends MULTI, `commands` and EXEC, and runs turns until the unit has begun but is not over.
fn begin(server: &mut Server, client: &mut Client, commands: &[Vec<&str>], turns: usize) {
    client.run(server, ["MULTI"]);
    for command in commands {
        client.send(command);
        assert_eq!(client.read(server), Value::Simple(b"QUEUED".to_vec()));
    }
    client.send(&["EXEC"]);
    for _ in 0..turns {
        (0..server.shards()).for_each(|shard| server.turns_of(shard, 1));
    }
    assert_eq!(client.try_read(), None, "the unit is not over");
}

#[test]
fn strangers_go_on_and_others_wait() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut reader, mut stranger) =
            (server.client(), server.client(), server.client());
        let keys: Vec<String> = (0..60).map(|at| format!("key:{at}")).collect();
        let commands: Vec<_> = keys.iter().map(|key| vec!["SET", key, "v"]).collect();
        // Planning and splitting take a turn per command and part.
        begin(&mut server, &mut client, &commands, 150);
        reader.send(&["GET", "key:59"]);
        stranger.send(&["SET", "apart", "x"]);
        (0..4).for_each(|_| (0..shards).for_each(|shard| server.turns_of(shard, 2)));
        assert_eq!(stranger.try_read(), Some(ok()), "a stranger goes on");
        assert_eq!(client.try_read(), None, "the unit is not over");
        assert_eq!(reader.read(&mut server), bulk("v"), "the reader came later");
        assert_eq!(client.read(&mut server), Value::Array(vec![ok(); 60]));
        server.check();
    }
}

/// A unit takes effect when its first round is posted. A command on the session, which its home has
/// run some steps earlier, does not make it see an earlier time.
#[test]
fn a_unit_sees_the_time_at_which_it_takes_effect() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut other) = (server.client(), server.client());
        for key in ["volatile", "another"] {
            assert_eq!(other.run(&mut server, ["SET", key, "v", "PX", "10"]), ok());
        }
        let mut commands = vec![vec!["SELECT", "0"], vec!["MGET", "mark", "volatile"]];
        commands.extend(vec![vec!["SET", "key", "v"]; 60]);
        // All of it is planned and some of it is split, but the unit is not posted.
        begin(&mut server, &mut client, &commands, 80);
        server.world.clock.advance_ms(20);
        other.send(&["PTTL", "another"]);
        other.send(&["SET", "mark", "v"]);
        (0..4).for_each(|_| (0..shards).for_each(|shard| server.turns_of(shard, 1)));
        assert_eq!((other.try_read(), other.try_read()), (Some(int(-2)), Some(ok())));
        let Value::Array(replies) = client.read(&mut server) else { panic!("an array") };
        let seen = Value::Array(vec![bulk("v"), Value::Null]);
        assert_eq!(replies[1], seen, "{shards} shards: it follows the other client's commands");
        server.check();
    }
}

/// A transaction with a long command runs it on the pool: strangers go on, and clients of its
/// keys see all of it or nothing.
#[test]
fn a_long_command_of_a_transaction_runs_on_the_pool() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut reader) = (server.client(), server.client());
        let key = key_on(shards, shards - 1, 0);
        client.run(&mut server, ["MULTI"]);
        for command in [&["RPUSH", &key, "a", "b", "c"][..], &["LRANGE", &key, "0", "-1"]] {
            client.send(command);
            assert_eq!(client.read(&mut server), Value::Simple(b"QUEUED".to_vec()));
        }
        client.send(&["EXEC"]);
        (0..200).for_each(|_| (0..shards).for_each(|shard| server.turns_of(shard, 1)));
        assert_eq!(client.try_read(), None, "{shards} shards: it waits for the pool");
        reader.send(&["LLEN", &key]);
        let expected = Value::Array(vec![int(3), list(&["a", "b", "c"])]);
        assert_eq!(client.read(&mut server), expected);
        assert_eq!(reader.read(&mut server), int(3), "the reader came later");
        server.check();
    }
}

/// A reader that finds a key expired does not remove it from a unit that sees an earlier time.
#[test]
fn a_key_of_a_unit_in_slices_stays_until_the_unit_is_over() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut other) = (server.client(), server.client());
        assert_eq!(other.run(&mut server, ["SET", "volatile", "v", "PX", "10"]), ok());
        // Weighs nothing, so it runs in a slice and not on the pool.
        let length = ["STRLEN", "volatile"].to_vec();
        let mut commands = vec![length.clone()];
        commands.extend(vec![vec!["STRLEN", "key"]; 60]);
        commands.push(length);
        // Its first commands have run.
        begin(&mut server, &mut client, &commands, 150);
        server.world.clock.advance_ms(20);
        other.send(&["STRLEN", "volatile"]);
        (0..8).for_each(|_| (0..shards).for_each(|shard| server.turns_of(shard, 1)));
        assert_eq!(other.try_read(), Some(int(0)));
        let Value::Array(replies) = client.read(&mut server) else { panic!("an array") };
        assert_eq!([&replies[0], &replies[61]], [&int(1); 2], "{shards} shards: one time");
        assert_eq!(other.run(&mut server, ["STRLEN", "volatile"]), int(0));
        assert_eq!(other.run(&mut server, ["DBSIZE"]), int(0));
        server.check();
    }
}

#[test]
fn a_unit_whose_client_leaves_is_finished() {
    for (shards, seed, turns) in [(1, 0, 1), (2, 1, 20), (3, 2, 60), (2, 3, 100), (1, 4, 130)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut other) = (server.client(), server.client());
        let keys: Vec<String> = (0..60).map(|at| format!("key:{at}")).collect();
        let commands: Vec<_> = keys.iter().map(|key| vec!["SET", key, "v"]).collect();
        begin(&mut server, &mut client, &commands, turns);
        client.link.close();
        server.settle();
        assert_eq!(other.run(&mut server, ["DBSIZE"]), int(60));
        server.check();
    }
}

#[test]
fn a_pause_delays_a_unit_that_has_not_begun() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut admin) = (server.client(), server.client());
        let commands = vec![vec!["SET", "a", "1"], vec!["SET", "b", "2"], vec!["INCR", "c"]];
        begin(&mut server, &mut client, &commands, 1);
        assert_eq!(admin.run(&mut server, ["CLIENT", "PAUSE", "100", "WRITE"]), ok());
        server.settle();
        assert_eq!(client.try_read(), None, "the unit waits");
        assert_eq!(admin.run(&mut server, ["EXISTS", "a", "b", "c"]), int(0));
        server.advance_ms(101);
        assert_eq!(client.read(&mut server), Value::Array(vec![ok(), ok(), int(1)]));
        server.check();
    }
}

#[test]
fn blocked_clients_are_served_after_the_unit() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2), (3, 3)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut waiter) = (server.client(), server.client());
        let key = key_on(shards, shards - 1, 0);
        waiter.send(&["BLPOP", &key, "0"]);
        server.settle();
        let commands = vec![vec!["RPUSH", &key, "a", "b"], vec!["LPOP", &key], vec!["PING"]];
        begin(&mut server, &mut client, &commands, 1);
        let pong = Value::Simple(b"PONG".to_vec());
        assert_eq!(client.read(&mut server), Value::Array(vec![int(2), bulk("a"), pong]));
        assert_eq!(waiter.read(&mut server), list(&[&key, "b"]));
        server.check();
    }
}

#[test]
fn a_reply_in_steps_is_sent_after_the_clients_that_its_unit_unblocked() {
    for (shards, seed) in [(2, 0), (2, 1), (3, 2), (4, 3)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut mover) = (server.client(), server.client());
        let [from, to] = [0, 1].map(|shard| key_on(shards, shard, 0));
        mover.send(&["BLMOVE", &from, &to, "LEFT", "LEFT", "0"]);
        server.settle();
        // The mover is served by its home while the replies of the unit are merged, one a turn.
        let mut commands = vec![vec!["GET", "none"]; 200];
        commands[0] = vec!["RPUSH", &from, "v"];
        begin(&mut server, &mut client, &commands, 1);
        let mut expected = vec![Value::Null; 200];
        expected[0] = int(1);
        assert_eq!(client.read(&mut server), Value::Array(expected), "seed {seed}");
        assert_eq!(mover.read(&mut server), bulk("v"));
        server.check();
    }
}

#[test]
fn a_changed_watched_key_breaks_the_whole_unit() {
    for (shards, seed) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        let mut server = server(shards, seed, true);
        let (mut client, mut other) = (server.client(), server.client());
        let keys: Vec<String> = (0..shards).map(|shard| key_on(shards, shard, 0)).collect();
        for broken in [true, false] {
            let watch: Vec<&str> =
                std::iter::once("WATCH").chain(keys.iter().map(|key| &**key)).collect();
            client.send(&watch);
            assert_eq!(client.read(&mut server), ok());
            if broken {
                other.run(&mut server, ["SET", &keys[shards - 1], "other"]);
            }
            let commands: Vec<_> = keys.iter().map(|key| vec!["SET", key, "own"]).collect();
            begin(&mut server, &mut client, &commands, 1);
            let reply = client.read(&mut server);
            let expected = if broken { Value::Null } else { Value::Array(vec![ok(); shards]) };
            assert_eq!(reply, expected, "seed {seed}");
            let value = if broken { "other" } else { "own" };
            assert_eq!(other.run(&mut server, ["GET", &keys[shards - 1]]), bulk(value));
        }
        server.check();
    }
}

/// A transaction in steps unblocks a client whose command uses keys of several shards. The command
/// may be over before the transaction's replies are merged, or after.
#[test]
fn a_unit_in_steps_waits_for_what_it_has_unblocked() {
    for seed in 0..40 {
        let shards = 2 + seed as usize % 2;
        let mut server = server(shards, seed, true);
        let (mut mover, mut client) = (server.client(), server.client());
        let (from, to) = (key_on(shards, 0, 0), key_on(shards, 1, 0));
        mover.send(&["BLMOVE", &from, &to, "LEFT", "RIGHT", "0"]);
        server.settle();
        let others = [key_on(shards, 0, 1), key_on(shards, 1, 1)];
        // The part with more commands is over last.
        let (first, last) = if seed < 20 { (20, 1) } else { (1, 20) };
        let commands = [
            vec![vec!["RPUSH", &from, "item"]],
            vec![vec!["SET", &others[0], "v"]; first],
            vec![vec!["SET", &others[1], "v"]; last],
        ];
        begin(&mut server, &mut client, &commands.concat(), 0);
        let Value::Array(replies) = client.read(&mut server) else { panic!("EXEC replies") };
        assert_eq!(replies[..2], [int(1), ok()], "seed {seed}");
        assert_eq!(client.run(&mut server, ["LLEN", &to]), int(1), "seed {seed}");
        assert_eq!(mover.read(&mut server), bulk("item"), "seed {seed}");
        server.check();
    }
}
