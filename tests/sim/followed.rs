//! What a replica reads when commands unblock clients whose commands conflict with locks: the
//! unblocked commands, each after its cause.

use super::histories::{Repeat, seeds};
use crate::harness::replay::Replay;
use crate::harness::{Client, Server, Setup, bulk, int, key_on, ok};
use annulet::base::rng::Rng;
use annulet::config::Permission;
use annulet::resp::Value;
use std::collections::{BTreeMap, VecDeque};

const SEEDS: u64 = 300;
const CLIENTS: usize = 7;
const COMMANDS: usize = 60;

/// Milliseconds after which everything that has happened is in the stream.
const REST_MS: u64 = 50;

type Lists = BTreeMap<String, VecDeque<String>>;

/// A connection that has asked for the stream, and the lists that it describes.
struct Replica {
    client: Client,
    received: Vec<u8>,
    lists: Lists,
    /// The commands in the stream, for a failure's message.
    stream: Vec<String>,
}

impl Replica {
    fn attach(server: &mut Server) -> Replica {
        let mut client = server.client();
        client.send(&["PSYNC", "?", "-1"]);
        let mut received = Vec::new();
        for _ in 0..REST_MS {
            server.advance_ms(1);
            received.extend(client.link.read());
            if let Some(whole) = snapshot_len(&received) {
                received.drain(..whole);
                return Replica { client, received, lists: Lists::new(), stream: Vec::new() };
            }
        }
        panic!("no snapshot comes");
    }

    /// Applies what has come.
    fn read(&mut self) {
        self.received.extend(self.client.link.read());
        while let Some((Value::Array(args), len)) = Value::read(&self.received) {
            self.received.drain(..len);
            let text = |arg| match arg {
                Value::Bulk(bytes) => String::from_utf8(bytes).expect("text"),
                other => panic!("{other:?} in the stream"),
            };
            let args: Vec<String> = args.into_iter().map(text).collect();
            self.stream.push(args.join(" "));
            self.apply(&args);
        }
    }

    fn apply(&mut self, args: &[String]) {
        match args[0].to_ascii_uppercase().as_str() {
            "RPUSH" => self.lists.entry(args[1].clone()).or_default().extend(args[2..].to_vec()),
            "LPUSH" => {
                let list = self.lists.entry(args[1].clone()).or_default();
                args[2..].iter().for_each(|arg| list.push_front(arg.clone()));
            }
            "LPOP" => drop(self.pop(&args[1], true)),
            "RPOP" => drop(self.pop(&args[1], false)),
            "LMOVE" => self.pass(&args[1], &args[2], [args[3] == "LEFT", args[4] == "LEFT"]),
            "RPOPLPUSH" => self.pass(&args[1], &args[2], [false, true]),
            "RENAME" => {
                let list = self.lists.remove(&args[1]).expect("a renamed key is there");
                self.lists.insert(args[2].clone(), list);
            }
            "SELECT" | "MULTI" | "EXEC" | "PING" => {}
            other => panic!("{other} in the stream"),
        }
    }

    fn pop(&mut self, key: &str, is_left: bool) -> String {
        let stream = self.stream.join("\n");
        let list = self.lists.get_mut(key).unwrap_or_else(|| panic!("{key} is empty:\n{stream}"));
        let element = if is_left { list.pop_front() } else { list.pop_back() };
        if list.is_empty() {
            self.lists.remove(key);
        }
        element.expect("a list has elements")
    }

    fn pass(&mut self, from: &str, to: &str, [from_left, to_left]: [bool; 2]) {
        let element = self.pop(from, from_left);
        let list = self.lists.entry(to.to_string()).or_default();
        if to_left { list.push_front(element) } else { list.push_back(element) }
    }
}

/// Returns the length of the reply to PSYNC with its snapshot, once it is here.
fn snapshot_len(received: &[u8]) -> Option<usize> {
    let at = received.windows(3).position(|part| part == b"\r\n$")? + 3;
    let end = at + received[at..].windows(2).position(|part| part == b"\r\n")?;
    let len = std::str::from_utf8(&received[at..end]).expect("text").parse::<usize>();
    let whole = end + 2 + len.expect("the length of the snapshot");
    (received.len() >= whole).then_some(whole)
}

fn command(rng: &mut Rng, keys: &[String], number: usize) -> Vec<Vec<String>> {
    let mut key = || keys[rng.below(keys.len() as u64) as usize].clone();
    let value = format!("v{number}");
    let one = |args: &[&str]| vec![args.iter().map(|arg| arg.to_string()).collect()];
    let (a, b) = (key(), key());
    match rng.below(14) {
        0..=2 => one(&["RPUSH", &a, &value]),
        3 => one(&["LPUSH", &a, &value]),
        4 => one(&["LMOVE", &a, &b, "LEFT", "RIGHT"]),
        5 => one(&["RENAME", &a, &b]),
        6 => one(&["RPOP", &a]),
        7 => one(&["BLPOP", &a, &b, "0"]),
        8 => one(&["BRPOP", &a, "0"]),
        9 => one(&["BRPOPLPUSH", &a, &b, "0"]),
        10 | 11 => one(&["BLMOVE", &a, &b, "LEFT", "RIGHT", "0"]),
        _ => [
            one(&["MULTI"]),
            one(&["RPUSH", &a, &value]),
            one(&["RPUSH", &b, &value]),
            one(&["EXEC"]),
        ]
        .concat(),
    }
}

/// Runs random clients on lists, and compares the replica's lists with the server's.
fn follow_at_random(seed: u64) {
    let mut rng = Rng::new(seed ^ 0xf0110);
    let shards = 1 + rng.below(3) as usize;
    let mut server = Server::new(shards, seed);
    let keys: Vec<String> = (0..shards + 2).map(|at| key_on(shards, at % shards, at)).collect();
    let mut replica = Replica::attach(&mut server);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| (server.client(), 0)).collect();
    for number in 0..COMMANDS {
        let at = rng.below(CLIENTS as u64) as usize;
        let (client, due) = &mut clients[at];
        while client.try_read().is_some() {
            *due -= 1;
        }
        if *due == 0 {
            for args in command(&mut rng, &keys, number) {
                client.send(&args);
                *due += 1;
            }
        }
        server.steps(rng.below(6));
        if rng.below(20) == 0 {
            server.advance_ms(1);
        }
        replica.read();
    }
    for _ in 0..REST_MS {
        server.advance_ms(1);
        replica.read();
    }
    let mut reader = server.client();
    for key in &keys {
        let theirs = replica.lists.get(key).cloned().unwrap_or_default();
        let theirs = Value::Array(theirs.iter().map(|element| bulk(element)).collect());
        let ours = reader.run(&mut server, ["LRANGE", key, "0", "-1"]);
        assert_eq!(ours, theirs, "{shards} shards: {key} differs:\n{}", replica.stream.join("\n"));
    }
}

#[test]
fn a_replica_is_told_of_unblocked_commands_after_their_causes() {
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "followed");
        follow_at_random(seed);
    }
}

/// A snapshot waits for a unit that holds a key, and no other client waits for the snapshot.
#[test]
fn an_attaching_replica_stops_nobody() {
    for shards in [1, 3] {
        let mut setup = Setup { offloads: true, ..Setup::new(shards, 1) };
        setup.config.repl_diskless_sync_delay = 0;
        let mut server = Server::with(setup);
        let (mut holder, mut writer) = (server.client(), server.client());
        let (mut replica, mut waiter) = (server.client(), server.client());
        let [one, two, union] = [0, 1, 2].map(|at| key_on(shards, 0, at));
        for set in [&one, &two] {
            assert_eq!(writer.run(&mut server, ["SADD", set, "a", "b"]), int(2));
        }
        assert_eq!(writer.run(&mut server, ["SET", "before", "1"]), ok());
        let turns = |server: &mut Server| {
            (0..40).for_each(|turn| server.turns_of(turn % shards, 1));
        };
        // No thread of the pool runs the command during these turns.
        holder.send(&["SUNIONSTORE", &union, &one, &two]);
        turns(&mut server);
        replica.send(&["PSYNC", "?", "-1"]);
        turns(&mut server);
        for args in [["SET", "before", "2"], ["SET", "later", "2"]] {
            writer.send(&args);
        }
        waiter.send(&["SADD", &one, "c"]);
        turns(&mut server);
        assert_eq!(writer.try_read(), Some(ok()));
        assert_eq!(writer.try_read(), Some(ok()));
        assert!(waiter.try_read().is_none() && holder.try_read().is_none(), "the key is locked");
        server.advance_ms(10);
        assert_eq!(holder.read(&mut server), int(2));
        assert_eq!(waiter.read(&mut server), int(1));
        let received = replica.link.read();
        let whole = snapshot_len(&received).expect("the snapshot has come");
        let (snapshot, stream) = received.split_at(whole);
        let has =
            |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
        assert!(has(snapshot, &union) && has(snapshot, "before") && !has(snapshot, "later"));
        assert!(has(stream, "later") && !has(stream, &union), "the union is in the snapshot");
    }
}

/// A snapshot has what a unit before it leaves in its keys. So the stream has nothing of the unit,
/// not even that a key had expired that the unit then set.
#[test]
fn a_unit_that_a_snapshot_waits_for_is_not_in_the_stream() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let mut setup = Setup { offloads: true, ..Setup::new(shards, seed) };
        setup.config.repl_diskless_sync_delay = 0;
        let mut server = Server::with(setup);
        let mut client = server.client();
        let key = key_on(shards, shards - 1, 0);
        client.run(&mut server, ["SET", &key, "old", "PX", "10"]);
        client.run(&mut server, ["MULTI"]);
        for _ in 0..60 {
            client.run(&mut server, ["GET", "x"]);
        }
        client.run(&mut server, ["SET", &key, "new"]);
        server.world.clock.advance_ms(20);
        client.send(&["EXEC"]);
        let turns = |server: &mut Server, count: usize| {
            (0..count * shards).for_each(|turn| server.turns_of(turn % shards, 1));
        };
        // Some of its commands have run.
        turns(&mut server, 150);
        let mut replay = Replay::attach(&server.world);
        turns(&mut server, 15);
        assert!(server.world.feed.is_on() && client.try_read().is_none(), "it is not over");
        assert!(matches!(client.read(&mut server), Value::Array(_)));
        while !replay.has_snapshot() || server.draw(100) > 0 {
            server.advance_ms(1);
            while replay.next().is_some() {}
        }
        let seen = replay.keys(0, &[key]);
        assert_eq!(seen, [Some(("new".to_string(), None))], "{}", replay.shown());
    }
}

/// A snapshot that waits for a unit has the keys of its own moment, and keys that expire while it
/// waits: a later unit that waits behind it may still see them.
#[test]
fn a_snapshot_that_waits_has_the_keys_of_its_moment() {
    for (shards, seed) in [(2, 1), (3, 2), (4, 3)] {
        let mut setup = Setup { offloads: true, ..Setup::new(shards, seed) };
        setup.config.repl_diskless_sync_delay = 0;
        let mut server = Server::with(setup);
        let (mut client, mut other) = (server.client(), server.client());
        let (from, to) = (key_on(shards, 0, 0), key_on(shards, 1, 0));
        client.run(&mut server, ["SET", &from, "v", "PX", "10"]);
        client.run(&mut server, ["MULTI"]);
        for at in 1..=150 {
            client.run(&mut server, ["SET", &key_on(shards, 0, at), "v"]);
        }
        client.send(&["EXEC"]);
        let turns = |server: &mut Server, count: usize| {
            (0..count * shards).for_each(|turn| server.turns_of(turn % shards, 1));
        };
        turns(&mut server, 310);
        let mut replay = Replay::attach(&server.world);
        turns(&mut server, 40);
        other.send(&["RENAME", &from, &to]);
        turns(&mut server, 20);
        assert_eq!((client.try_read(), other.try_read()), (None, None), "they are not over");
        server.world.clock.advance_ms(20);
        assert!(matches!(client.read(&mut server), Value::Array(_)));
        assert_eq!(other.read(&mut server), ok());
        // It fails if a command of the stream fails.
        while !replay.has_snapshot() || server.draw(100) > 0 {
            server.advance_ms(1);
            while replay.next().is_some() {}
        }
        assert!(replay.shown().contains(&format!("RENAME {from} {to}")), "{}", replay.shown());
    }
}

/// Runs turns of all shards, without the offload pool. Returns how many of them found work.
fn busy_turns(server: &mut Server) -> usize {
    let all = (0..50).flat_map(|_| 0..server.shards()).collect::<Vec<_>>();
    all.into_iter().map(|me| server.busy_turns_of(me, 1)).sum()
}

/// Returns a server whose feed is due to end while a command on another thread still has its place
/// in the journal, and the client of that command.
fn ending_feed(shards: usize, seed: u64) -> (Server, Client) {
    let mut setup = Setup { offloads: true, ..Setup::new(shards, seed) };
    setup.config.repl_backlog_ttl = 1;
    setup.config.repl_diskless_sync_delay = 0;
    let mut server = Server::with(setup);
    let mut client = server.client();
    let key = key_on(shards, shards - 1, 0);
    client.run(&mut server, ["RPUSH", &key, "a", "b", "a"]);
    let replica = Replica::attach(&mut server);
    replica.client.link.reset();
    server.settle();
    client.send(&["LREM", &key, "0", "a"]);
    busy_turns(&mut server);
    server.world.clock.advance_ms(2_000);
    busy_turns(&mut server);
    assert!(server.world.feed.is_on());
    (server, client)
}

/// A shard may find the mark of its WAIT only after another shard has ended the feed.
#[test]
fn a_wait_ends_its_barrier_beside_the_feed() {
    const SHARDS: usize = 4;
    for late in 1..SHARDS - 1 {
        let mut setup = Setup { offloads: true, ..Setup::new(SHARDS, late as u64) };
        setup.config.repl_backlog_ttl = 1;
        setup.config.repl_diskless_sync_delay = 0;
        let mut server = Server::with(setup);
        let (mut client, mut writer) = (server.client(), server.client());
        // One on each shard.
        let mut waiters: Vec<Client> = (0..SHARDS).map(|_| server.client()).collect();
        let (here, there) = (key_on(SHARDS, SHARDS - 1, 0), key_on(SHARDS, 0, 0));
        client.run(&mut server, ["RPUSH", &here, "a", "b", "a"]);
        let replica = Replica::attach(&mut server);
        replica.client.link.reset();
        server.settle();
        client.send(&["LREM", &here, "0", "a"]);
        busy_turns(&mut server);
        // Its part behind LREM holds the stream up, and the marks.
        writer.send(&["MSET", &there, "v", &here, "v"]);
        busy_turns(&mut server);
        waiters.iter_mut().for_each(|waiter| waiter.send(&["WAIT", "1", "4000"]));
        busy_turns(&mut server);
        server.world.clock.advance_ms(2_000);
        busy_turns(&mut server);
        assert!(server.world.feed.is_on() && client.try_read().is_none());
        assert!(server.world.run_offloaded());
        for turn in 0..50 * SHARDS {
            if turn % SHARDS != late {
                server.turns_of(turn % SHARDS, 1);
            }
        }
        assert!(!server.world.feed.is_on(), "the feed has ended");
        server.advance_ms(4_000);
        assert_eq!((client.try_read(), writer.try_read()), (Some(int(2)), Some(ok())));
        for waiter in &mut waiters {
            assert_eq!(waiter.read(&mut server), int(0));
        }
        server.check();
    }
}

/// The merger writes a large unit in steps.
#[test]
fn a_feed_without_readers_ends_after_a_large_unit() {
    for (shards, seed) in [(1, 0), (2, 1)] {
        let mut setup = Setup { offloads: true, ..Setup::new(shards, seed) };
        setup.config.repl_backlog_ttl = 1;
        setup.config.repl_diskless_sync_delay = 0;
        let mut server = Server::with(setup);
        let (mut client, mut writer) = (server.client(), server.client());
        let key = key_on(shards, shards - 1, 0);
        client.run(&mut server, ["RPUSH", &key, "a", "b", "a"]);
        let replica = Replica::attach(&mut server);
        replica.client.link.reset();
        server.settle();
        client.send(&["LREM", &key, "0", "a"]);
        busy_turns(&mut server);
        writer.send(&["MULTI"]);
        let value = "v".repeat(100_000);
        (0..40).for_each(|_| writer.send(&["SET", &key, &value]));
        writer.send(&["EXEC"]);
        while !writer.has_sent() {
            busy_turns(&mut server);
            writer.pump();
        }
        while busy_turns(&mut server) > 0 {}
        server.world.clock.advance_ms(2_000);
        busy_turns(&mut server);
        assert!(server.world.feed.is_on() && client.try_read().is_none());
        let before = server.world.feed.end_offset();
        assert_eq!(client.read(&mut server), int(2));
        server.advance_ms(1_000);
        assert!(!server.world.feed.is_on(), "{shards} shards: the feed ends");
        let written = server.world.feed.end_offset() - before;
        assert!(written > 4_000_000, "{written} bytes");
        server.check();
    }
}

#[test]
fn a_feed_without_readers_ends_after_a_long_command() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut client) = ending_feed(shards, seed);
        assert_eq!(busy_turns(&mut server), 0, "{shards} shards: all wait");
        assert_eq!(client.try_read(), None);
        assert_eq!(client.read(&mut server), int(2));
        server.advance_ms(1_000);
        assert!(!server.world.feed.is_on(), "{shards} shards: the feed ends");
        server.check();
    }
}

/// A command may outlast `repl-backlog-ttl` any number of times.
#[test]
fn a_feed_that_is_about_to_end_is_ended_once() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut client) = ending_feed(shards, seed);
        for _ in 0..3 {
            server.world.clock.advance_ms(2_000);
            busy_turns(&mut server);
        }
        assert_eq!(client.try_read(), None);
        assert_eq!(client.read(&mut server), int(2));
        server.advance_ms(1_000);
        assert!(!server.world.feed.is_on(), "{shards} shards: the feed ends");
        server.check();
    }
}

#[test]
fn a_feed_that_is_about_to_end_stays_for_a_new_reader() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let (mut server, mut client) = ending_feed(shards, seed);
        let mut replica = Replica::attach(&mut server);
        assert_eq!(client.read(&mut server), int(2));
        let key = key_on(shards, 0, 1);
        assert_eq!(client.run(&mut server, ["RPUSH", &key, "a"]), int(1));
        server.advance_ms(REST_MS);
        replica.read();
        assert_eq!(replica.stream.last(), Some(&format!("RPUSH {key} a")));
        replica.client.link.reset();
        server.settle();
        (0..3).for_each(|_| server.advance_ms(1_000));
        assert!(!server.world.feed.is_on(), "{shards} shards: the feed ends later");
        server.check();
    }
}

/// A write that reads an expired key, which another unit still uses, does what it does without the
/// key. So a replica removes the key before.
#[test]
fn a_write_that_misses_an_expired_key_follows_its_removal() {
    for (shards, seed) in [(1, 0), (1, 1), (2, 2), (4, 3)] {
        let mut setup = Setup { offloads: true, ..Setup::new(shards, seed) };
        setup.config.repl_diskless_sync_delay = 0;
        let mut server = Server::with(setup);
        let mut replay = Replay::attach(&server.world);
        while !replay.has_snapshot() {
            server.advance_ms(1);
            while replay.next().is_some() {}
        }
        let (mut reader, mut writer) = (server.client(), server.client());
        let (key, kept) = (key_on(shards, shards - 1, 0), key_on(shards, 0, 1));
        writer.run(&mut server, ["SET", &key, "v", "PX", "10"]);
        writer.run(&mut server, ["SADD", &kept, "member"]);
        reader.run(&mut server, ["MULTI"]);
        for _ in 0..60 {
            reader.run(&mut server, ["GET", &key]);
        }
        reader.send(&["EXEC"]);
        (0..150 * shards).for_each(|turn| server.turns_of(turn % shards, 1));
        assert_eq!(reader.try_read(), None, "it is not over");
        server.world.clock.advance_ms(20);
        writer.send(&["SDIFFSTORE", &kept, &key]);
        assert_eq!(writer.read(&mut server), int(0), "the key has expired");
        assert!(matches!(reader.read(&mut server), Value::Array(_)));
        for _ in 0..REST_MS {
            server.advance_ms(1);
            // It fails if a command of the stream fails.
            while replay.next().is_some() {}
        }
        assert_eq!(replay.keys(0, &[key, kept]), [None, None], "{}", replay.shown());
    }
}

/// A key that has expired, but is still here, outlives DEBUG RELOAD: the stream has its removal
/// before the key is set again.
#[test]
fn a_reload_drops_no_key_that_a_replica_has() {
    for (shards, seed) in [(1, 0), (2, 1), (4, 2)] {
        let mut setup = Setup::new(shards, seed);
        setup.config.repl_diskless_sync_delay = 0;
        setup.config.enable_debug_command = Permission::Yes;
        setup.config.dir = std::env::temp_dir();
        setup.config.dbfilename = format!("annulet-reload-{}.rdb", std::process::id());
        let file = setup.config.dir.join(&setup.config.dbfilename);
        let mut server = Server::with(setup);
        let mut client = server.client();
        client.run(&mut server, ["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let mut replay = Replay::attach(&server.world);
        while !replay.has_snapshot() {
            server.advance_ms(1);
            while replay.next().is_some() {}
        }
        let key = key_on(shards, shards - 1, 0);
        client.run(&mut server, ["SET", &key, "old", "PX", "10"]);
        server.advance_ms(20);
        assert_eq!(client.run(&mut server, ["DEBUG", "RELOAD"]), ok());
        std::fs::remove_file(&file).expect("it was saved");
        assert_eq!(client.run(&mut server, ["APPEND", &key, "new"]), int(3));
        for _ in 0..REST_MS {
            server.advance_ms(1);
            while replay.next().is_some() {}
        }
        let seen = replay.keys(0, &[key]);
        assert_eq!(seen, [Some(("new".to_string(), None))], "{}", replay.shown());
    }
}
