//! What a replica reads while partitions are borrowed: everything, in the order in which it
//! happened.

use super::histories::{Borrowed, Repeat, seeds};
use crate::harness::linear::{borrows, run, wait_until};
use crate::harness::lockstep::{At, Lockstep};
use crate::harness::{Client, Setup, World, key_on};
use annulet::base::rng::Rng;
use annulet::mesh::Preempt;
use annulet::resp::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

const SEEDS: u64 = 40;
const CLIENTS: usize = 4;
const COMMANDS: usize = 40;
/// Steps after which what has happened must be in the stream.
const REST_STEPS_MAX: u64 = 20_000;

/// Calls between two ticks.
const TICK_CALLS: u64 = 100;

/// The list of all keys, which SORT reads, and the list that it stores.
const ORDER: &str = "order";
const SORTED: &str = "sorted";

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

/// In place of the shards' own ticks: a waiting shard of the simulation sleeps until something
/// comes. A unit is in the stream once its time is over and somebody merges.
struct Ticker {
    client: Client,
    calls: u64,
}

impl Ticker {
    fn tick(&mut self, world: &World) {
        self.calls += 1;
        if self.calls.is_multiple_of(TICK_CALLS) {
            world.clock.advance_ms(1);
            self.client.send(&["PING"]);
        }
        while self.client.try_read().is_some() {}
    }
}

/// A connection that has asked for the stream.
struct Replica {
    client: Client,
    received: Vec<u8>,
    keys: Keys,
    /// The elements of the list that SORT reads.
    order: Vec<Vec<u8>>,
}

impl Replica {
    fn attach(
        world: &World,
        lockstep: &Lockstep,
        ticker: &mut Ticker,
        order: &[String],
    ) -> Replica {
        let mut writer = world.connect();
        let args = [ORDER].into_iter().chain(order.iter().map(String::as_str));
        writer.send(&["RPUSH"].into_iter().chain(args).collect::<Vec<_>>());
        wait_until(lockstep, "the list that SORT reads", || writer.try_read().is_some());
        let mut client = world.connect();
        let order = order.iter().map(|key| key.clone().into_bytes()).collect();
        client.send(&["PSYNC", "?", "-1"]);
        let mut replica = Replica { client, received: Vec::new(), keys: Keys::new(), order };
        wait_until(lockstep, "the snapshot", || {
            ticker.tick(world);
            replica.received.extend(replica.client.link.read());
            let text = &replica.received;
            let Some(at) = text.windows(3).position(|part| part == b"\r\n$") else { return false };
            let rest = &text[at + 3..];
            let Some(end) = rest.windows(2).position(|part| part == b"\r\n") else { return false };
            let len = std::str::from_utf8(&rest[..end]).expect("text").parse::<usize>();
            let whole = at + 3 + end + 2 + len.expect("the length of the snapshot");
            if replica.received.len() < whole {
                return false;
            }
            replica.received.drain(..whole);
            true
        });
        replica
    }

    /// Applies what has come.
    fn read(&mut self) {
        self.received.extend(self.client.link.read());
        while let Some((Value::Array(args), len)) = Value::read(&self.received) {
            self.received.drain(..len);
            let args: Vec<Vec<u8>> = args
                .into_iter()
                .map(|arg| match arg {
                    Value::Bulk(bytes) => bytes,
                    other => panic!("{other:?} in the stream"),
                })
                .collect();
            self.apply(&args);
        }
    }

    fn apply(&mut self, args: &[Vec<u8>]) {
        let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
        match name.as_str() {
            "SET" => {
                self.keys.insert(args[1].clone(), args[2].clone());
            }
            "RENAME" => {
                let value = self.keys.remove(&args[1]).expect("a key that is there is renamed");
                self.keys.insert(args[2].clone(), value);
            }
            "MSET" => {
                for pair in args[1..].chunks_exact(2) {
                    self.keys.insert(pair[0].clone(), pair[1].clone());
                }
            }
            "APPEND" => self.keys.entry(args[1].clone()).or_default().extend(&args[2]),
            "DEL" | "UNLINK" => {
                for key in &args[1..] {
                    self.keys.remove(key);
                }
            }
            "SORT" => {
                let value = |key: &Vec<u8>| self.keys.get(key).cloned().unwrap_or_default();
                let values: Vec<Vec<u8>> = self.order.iter().map(value).collect();
                self.keys.insert(SORTED.into(), values.join(&b' '));
            }
            "SELECT" | "MULTI" | "EXEC" | "PING" => {}
            other => panic!("{other} in the stream"),
        }
    }
}

/// Runs random writers and a replica.
fn propagate_at_random(seed: u64) -> u64 {
    let mut rng = Rng::new(seed ^ 0xfeed);
    let shards = 2 + rng.below(3) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let world = World::new(Setup { preempt: Some(preempt), ..Setup::new(shards, seed) });
    let keys: Vec<String> = (0..2 * shards).map(|at| key_on(shards, at % shards, at)).collect();
    run(&world, &lockstep, None, || {
        let mut ticker = Ticker { client: world.connect(), calls: 0 };
        let mut replica = Replica::attach(&world, &lockstep, &mut ticker, &keys);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| (world.connect(), 0)).collect();
        let mut sent = 0;
        let mut moved_at = lockstep.steps();
        while sent < COMMANDS || clients.iter().any(|(_, due)| *due > 0) {
            let at = rng.below(CLIENTS as u64) as usize;
            let (client, due) = &mut clients[at];
            if let Some(reply) = client.try_read() {
                let is_wrong = matches!(&reply, Value::Error(text) if text != b"ERR no such key");
                assert!(!is_wrong, "{reply:?}");
                *due -= 1;
                moved_at = lockstep.steps();
            } else if *due < 3 && sent < COMMANDS && rng.below(4) == 0 {
                sent += 1;
                if rng.below(4) > 0 {
                    client.send(&command(&mut rng, &keys, sent));
                    *due += 1;
                } else {
                    client.send(&["MULTI"]);
                    client.send(&command(&mut rng, &keys, sent));
                    client.send(&command(&mut rng, &keys, sent + 1));
                    client.send(&["EXEC"]);
                    *due += 4;
                }
            }
            replica.read();
            if rng.below(50) == 0 {
                world.clock.advance_ms(1);
            }
            assert!(lockstep.steps() - moved_at < 60_000, "stuck: {}", lockstep.describe());
            lockstep.pass(At::Client);
        }
        compare(&world, &lockstep, (&mut replica, &mut ticker), &keys);
    });
    borrows(&world)
}

/// Waits until the replica has what the server has.
fn compare(
    world: &World,
    lockstep: &Lockstep,
    (replica, ticker): (&mut Replica, &mut Ticker),
    keys: &[String],
) {
    let mut reader = world.connect();
    for key in keys.iter().map(String::as_str).chain([SORTED]) {
        match key {
            SORTED => reader.send(&["LRANGE", key, "0", "-1"]),
            _ => reader.send(&["GET", key]),
        }
        let mut reply = None;
        wait_until(lockstep, "a reply", || {
            reply = reply.take().or_else(|| reader.try_read());
            reply.is_some()
        });
        let value = match reply {
            Some(Value::Bulk(value)) => Some(value),
            Some(Value::Array(values)) if !values.is_empty() => Some(joined(&values)),
            _ => None,
        };
        let began = lockstep.steps();
        wait_until(lockstep, "the end of the stream", || {
            ticker.tick(world);
            replica.read();
            let found = replica.keys.get(key.as_bytes());
            let is_late = lockstep.steps() - began > REST_STEPS_MAX;
            assert!(!is_late, "{key} is {value:?}, and {found:?} at the replica");
            found == value.as_ref()
        });
    }
}

/// Joins the strings of an array.
fn joined(values: &[Value]) -> Vec<u8> {
    let text = |value: &Value| match value {
        Value::Bulk(text) => text.clone(),
        other => panic!("{other:?} is not a string"),
    };
    values.iter().map(text).collect::<Vec<_>>().join(&b' ')
}

fn command(rng: &mut Rng, keys: &[String], number: usize) -> Vec<String> {
    let value = format!("v{number}");
    let mut key = || keys[rng.below(keys.len() as u64) as usize].clone();
    match number % 12 {
        10 | 11 => {
            let sort = ["SORT", ORDER, "BY", "nosort", "GET", "*", "STORE", SORTED];
            sort.map(String::from).to_vec()
        }
        0 => vec!["SET".into(), key(), value],
        8 => vec!["SET".into(), key(), value, "PX".into(), "3".into()],
        9 => vec!["RENAME".into(), key(), key()],
        1 | 5 | 6 => vec!["APPEND".into(), key(), value],
        2 => vec!["DEL".into(), key(), key()],
        3 => vec!["MSET".into(), key(), value.clone(), key(), value.clone(), key(), value],
        _ => vec!["MSET".into(), key(), value.clone(), key(), value],
    }
}

#[test]
fn a_replica_is_told_what_happens_on_borrowed_partitions() {
    let mut borrowed = Borrowed::default();
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "propagated");
        borrowed.add(propagate_at_random(seed));
    }
    borrowed.check("a replica");
}
