//! Clients with caches under CLIENT TRACKING: a cached value is never older than what the last
//! reply shows, and in the end every cached value is the present one.
//!
//! A writer gives the keys ever higher numbers: one key after the other, or all of them in one
//! unit. So the number of an earlier key is at least the number of a later key at all times, and in
//! one unit all numbers are equal at all times. A reader that is shown a number must not have a
//! lower number in its cache for a key that precedes.

use crate::harness::linear::{run, wait_until};
use crate::harness::lockstep::Lockstep;
use crate::harness::{Client, Server, Setup, World, key_on, ok};
use annulet::base::rng::Rng;
use annulet::mesh::{Preempt, Rules};
use annulet::resp::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

const SEEDS: u64 = 40;
const ROUNDS: u64 = 12;
const READS: usize = 60;

/// How the writer changes the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// Each key with a SET, one after the other.
    OneByOne,
    /// All keys with one MSET.
    Together,
    /// All keys in one transaction.
    InTransaction,
}

struct Writer {
    client: Client,
    keys: Vec<String>,
    writes: Writes,
    round: u64,
    next: usize,
    /// Replies to come.
    awaited: usize,
}

impl Writer {
    fn is_over(&self) -> bool {
        self.awaited == 0 && self.round == ROUNDS
    }

    fn step(&mut self) {
        if self.awaited > 0 {
            if let Some(reply) = self.client.try_read() {
                assert!(!matches!(reply, Value::Error(_)), "{reply:?}");
                self.awaited -= 1;
            }
            return;
        }
        if self.round == ROUNDS {
            return;
        }
        let number = (self.round + 1).to_string();
        match self.writes {
            Writes::OneByOne => {
                self.client.send(&["SET", &self.keys[self.next], &number]);
                self.awaited = 1;
                self.next += 1;
            }
            Writes::Together => {
                let pairs = self.keys.iter().flat_map(|key| [key.as_str(), &number]);
                let args: Vec<&str> = ["MSET"].into_iter().chain(pairs).collect();
                self.client.send(&args);
                self.awaited = 1;
                self.next = self.keys.len();
            }
            Writes::InTransaction => {
                self.client.send(&["MULTI"]);
                self.keys.iter().for_each(|key| self.client.send(&["SET", key, &number]));
                self.client.send(&["EXEC"]);
                self.awaited = self.keys.len() + 2;
                self.next = self.keys.len();
            }
        }
        if self.next == self.keys.len() {
            (self.next, self.round) = (0, self.round + 1);
        }
    }
}

struct Reader {
    client: Client,
    writes: Writes,
    keys: Vec<String>,
    cache: HashMap<usize, u64>,
    /// The keys whose values come, in order.
    awaited: VecDeque<usize>,
    left: usize,
    hits: usize,
    /// The first stale value.
    stale: Option<String>,
}

impl Reader {
    fn is_over(&self) -> bool {
        self.awaited.is_empty() && self.left == 0
    }

    /// Takes what has arrived.
    fn receive(&mut self) {
        while let Some(value) = self.client.try_read() {
            match value {
                Value::Push(told) => self.forget(&told),
                other => {
                    let at = self.awaited.pop_front().expect("a reply was awaited");
                    self.take(at, number(&other));
                }
            }
        }
    }

    fn forget(&mut self, told: &[Value]) {
        assert_eq!(told[0], Value::Bulk(b"invalidate".to_vec()));
        let Value::Array(keys) = &told[1] else { panic!("{told:?}") };
        for key in keys {
            let Value::Bulk(key) = key else { panic!("{told:?}") };
            let at = self.keys.iter().position(|it| it.as_bytes() == key);
            self.cache.remove(&at.expect("a known key"));
        }
    }

    fn take(&mut self, at: usize, shown: u64) {
        for (&other, &cached) in &self.cache {
            let precedes = other < at || self.writes != Writes::OneByOne && other != at;
            if precedes && cached < shown {
                let stale = format!("key {other} is cached with {cached}, key {at} has {shown}");
                self.stale.get_or_insert(stale);
            }
        }
        self.cache.insert(at, shown);
    }

    fn step(&mut self, rng: &mut Rng) {
        self.receive();
        if !self.awaited.is_empty() || self.left == 0 {
            return;
        }
        self.left -= 1;
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(self.keys.len() as u64) as usize;
            if self.cache.contains_key(&at) && rng.below(4) > 0 {
                self.hits += 1;
                continue;
            }
            self.client.send(&["GET", &self.keys[at]]);
            self.awaited.push_back(at);
        }
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Bulk(text) => String::from_utf8_lossy(text).parse().expect("a number"),
        other => panic!("{other:?}"),
    }
}

/// Opens a reader that is tracking.
fn reader(world: &World, lockstep: &Lockstep, keys: &[String], how: (Writes, &[&str])) -> Reader {
    let mut client = world.connect();
    client.send(&["HELLO", "3"]);
    client.send(&[&["CLIENT", "TRACKING", "ON"], how.1].concat());
    for _ in 0..2 {
        wait_until(lockstep, "tracking begins", || client.try_read().is_some());
    }
    Reader {
        client,
        writes: how.0,
        keys: keys.to_vec(),
        cache: HashMap::new(),
        awaited: VecDeque::new(),
        left: READS,
        hits: 0,
        stale: None,
    }
}

/// Runs one seed. Returns the number of reads that the caches have served, or a stale value.
fn read_and_write(
    seed: u64,
    rules: Rules,
    writes: Writes,
    options: &[&str],
) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let shards = 2 + rng.below(3) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let world = World::new(Setup { rules, preempt: Some(preempt), ..Setup::new(shards, seed) });
    let keys: Vec<String> = (0..4).map(|at| key_on(shards, at % shards, at)).collect();
    let (mut hits, mut found) = (0, None);
    run(&world, &lockstep, None, || {
        let mut readers: Vec<Reader> =
            (0..3).map(|_| reader(&world, &lockstep, &keys, (writes, options))).collect();
        let client = world.connect();
        let mut writer =
            Writer { client, keys: keys.clone(), writes, round: 0, next: 0, awaited: 0 };
        wait_until(&lockstep, "all clients are finished", || {
            let all = readers.len() as u64 + 1;
            match rng.below(all) as usize {
                0 => writer.step(),
                at => readers[at - 1].step(&mut rng),
            }
            writer.is_over() && readers.iter().all(Reader::is_over)
        });
        let mut quiet = 0;
        wait_until(&lockstep, "everything was told", || {
            readers.iter_mut().for_each(Reader::receive);
            let is_empty = (0..shards).all(|shard| world.mesh.depth(shard) == 0);
            quiet = if is_empty && world.network.is_idle() { quiet + 1 } else { 0 };
            quiet > 200
        });
        for reader in readers {
            let stale: Vec<_> = reader.cache.iter().filter(|it| *it.1 != ROUNDS).collect();
            let in_the_end = (!stale.is_empty()).then(|| format!("stale in the end: {stale:?}"));
            found = found.take().or(reader.stale).or(in_the_end);
            hits += reader.hits;
        }
    });
    found.map_or(Ok(hits), Err)
}

/// Runs all seeds, and returns the number of reads that the caches have served.
fn check(writes: Writes, options: &[&str]) -> usize {
    let run = |seed| match read_and_write(seed, Rules::default(), writes, options) {
        Ok(hits) => hits,
        Err(stale) => panic!("seed {seed}, {writes:?}, {options:?}: {stale}"),
    };
    (0..SEEDS).map(run).sum()
}

#[test]
fn caches_are_not_stale_while_keys_change_one_by_one() {
    assert!(check(Writes::OneByOne, &[]) > SEEDS as usize, "the caches are used");
    check(Writes::OneByOne, &["BCAST"]);
}

#[test]
fn caches_are_not_stale_while_keys_change_in_one_unit() {
    for writes in [Writes::Together, Writes::InTransaction] {
        check(writes, &[]);
        check(writes, &["BCAST"]);
    }
}

#[test]
fn replies_that_do_not_wait_for_units_make_caches_stale() {
    let rules = Rules { await_units: false, ..Rules::default() };
    let is_stale = |seed| read_and_write(seed, rules, Writes::Together, &[]).is_err();
    assert!((0..SEEDS).any(is_stale), "the check sees states between the parts of a unit");
}

/// Changes tracked keys in a transaction that turns tracking on or off behind the changes. Returns
/// the messages behind the replies.
fn told_of_own_changes((shards, seed): (usize, u64), is_tracking: bool) -> Vec<Value> {
    let mut server = Server::with(Setup::new(shards, seed));
    let mut client = server.client();
    let keys: Vec<String> = (0..4).map(|at| key_on(shards, at % shards, at)).collect();
    client.run(&mut server, ["HELLO", "3"]);
    client.run(&mut server, ["CLIENT", "TRACKING", "ON"]);
    keys.iter().for_each(|key| _ = client.run(&mut server, ["GET", key]));
    let (now, then) = if is_tracking { ("ON", "OFF") } else { ("OFF", "ON") };
    client.run(&mut server, ["CLIENT", "TRACKING", now]);
    client.run(&mut server, ["MULTI"]);
    keys.iter().for_each(|key| _ = client.run(&mut server, ["SET", key, "1"]));
    client.run(&mut server, ["CLIENT", "TRACKING", then]);
    assert_eq!(client.run(&mut server, ["EXEC"]), Value::Array(vec![ok(); 5]));
    server.settle();
    std::iter::from_fn(|| client.try_read()).collect()
}

#[test]
fn a_client_is_told_of_own_changes_if_it_was_tracking_then() {
    for seed in 0..SEEDS {
        let setup = (1 + seed as usize % 4, seed);
        assert_eq!(told_of_own_changes(setup, false), [], "seed {seed}");
        assert_eq!(told_of_own_changes(setup, true).len(), 4, "seed {seed}");
    }
}
