//! A replica that follows the clients of a checked run: at each mark and at the end it must have
//! the keys that clients saw.
//!
//! A mark is a transaction of a client that sets the key `mark` to a new value and reads all keys.
//! When the stream sets the key to this value, the replica must have what the transaction has read.

use super::linear::{ask, wait_until};
use super::lockstep::Lockstep;
use super::model::{DATABASES, ORDER, SORTED};
use super::replay::{Replay, Seen, seen};
use super::{Client, World};
use annulet::base::clock::Clock;
use annulet::base::rng::Rng;
use annulet::resp::Value;
use std::collections::HashMap;

/// One step in this number has the replica leave and attach again.
const LEAVE_ONCE_IN: u64 = 3_000;

/// One step in this number wakes a shard.
const PING_ONCE_IN: u64 = 60;

/// Steps after which what has happened must be in the stream.
const REST_STEPS_MAX: u64 = 400_000;

/// What a mark has read, by database and key.
struct Mark {
    keys: Vec<Option<String>>,
    /// No clock of the server was later than this, in Unix milliseconds.
    until_ms: u64,
}

/// The replica, and the marks.
pub struct Followed {
    rng: Rng,
    names: Vec<String>,
    replay: Option<Replay>,
    /// A client that wakes shards.
    ticker: Client,
    /// Marks that clients have read.
    read: HashMap<i64, Mark>,
    /// The replica's keys at the marks in its stream.
    replayed: HashMap<i64, Vec<Seen>>,
    /// Whether the stream is inside a transaction.
    is_inside: bool,
    /// The mark that the present transaction of the stream has set.
    mark: Option<i64>,
    /// Marks that were sent while the replica was attached.
    expected: Vec<i64>,
    /// Compared marks.
    pub compared: u64,
    /// The first fault.
    pub wrong: Option<String>,
}

impl Followed {
    /// Creates a replica that attaches later. The last key is the mark.
    pub fn new(world: &World, names: &[String]) -> Followed {
        Followed {
            rng: Rng::new(world.seed ^ 0xf0e1),
            names: names.to_vec(),
            replay: None,
            ticker: world.connect(),
            read: HashMap::new(),
            replayed: HashMap::new(),
            is_inside: false,
            mark: None,
            expected: Vec::new(),
            compared: 0,
            wrong: None,
        }
    }

    /// Notes that a mark is sent.
    pub fn expect(&mut self, mark: i64) {
        if self.replay.as_ref().is_some_and(Replay::has_snapshot) {
            self.expected.push(mark);
        }
    }

    /// Notes the reply to a mark.
    pub fn note(&mut self, mark: i64, reply: &Value, until_ms: u64) {
        let Value::Array(replies) = reply else { return };
        let mut keys = Vec::new();
        for reply in replies {
            let Value::Array(values) = reply else { continue };
            keys.extend(values.iter().map(|value| match value {
                Value::Bulk(value) => Some(String::from_utf8_lossy(value).into_owned()),
                _ => None,
            }));
        }
        self.read.insert(mark, Mark { keys, until_ms });
        self.compare(mark);
    }

    /// Receives and applies. Returns whether anything moved.
    pub fn step(&mut self, world: &World) -> bool {
        if self.rng.below(PING_ONCE_IN) == 0 {
            if self.ticker.is_closed() {
                self.ticker = world.connect();
            }
            self.ticker.send(&["PING"]);
        }
        while self.ticker.try_read().is_some() {}
        let Some(replay) = &mut self.replay else {
            if self.rng.below(100) == 0 {
                self.replay = Some(Replay::attach(world));
            }
            return false;
        };
        if self.rng.below(LEAVE_ONCE_IN) == 0 {
            replay.client.link.reset();
            self.replay = None;
            (self.is_inside, self.mark) = (false, None);
            self.expected.clear();
            return false;
        }
        let before = replay.stream.len();
        self.read_stream();
        let Some(replay) = &mut self.replay else { return false };
        if self.rng.below(50) == 0 && replay.has_snapshot() {
            replay.acknowledge();
        }
        replay.stream.len() > before
    }

    fn read_stream(&mut self) {
        let Some(replay) = &mut self.replay else { return };
        let name = self.names.last().expect("the mark has a name");
        let mut marks = Vec::new();
        while let Some(args) = replay.next() {
            match args[0].as_str() {
                "MULTI" => self.is_inside = true,
                "EXEC" => self.is_inside = false,
                "SET" if args[1] == *name => self.mark = Some(number(&args[2])),
                _ => {}
            }
            if !self.is_inside
                && let Some(mark) = self.mark.take()
            {
                let keys = (0..DATABASES).flat_map(|db| replay.keys(db, &self.names));
                self.replayed.insert(mark, keys.collect());
                marks.push(mark);
            }
        }
        marks.into_iter().for_each(|mark| self.compare(mark));
    }

    /// Compares a mark, if it was both read and replayed.
    fn compare(&mut self, mark: i64) {
        let (Some(read), Some(replayed)) = (self.read.get(&mark), self.replayed.get(&mark)) else {
            return;
        };
        self.compared += 1;
        let is_equal = |(key, replayed): (&Option<String>, &Seen)| match (key, replayed) {
            (Some(key), Some((replayed, _))) => key == replayed,
            // The key has expired and is hidden.
            (None, Some((_, Some(expiry)))) => *expiry <= read.until_ms,
            (None, None) => true,
            _ => false,
        };
        if read.keys.iter().zip(replayed).all(is_equal) && read.keys.len() == replayed.len() {
            return;
        }
        let stream = self.replay.as_ref().map_or(String::new(), Replay::shown);
        self.wrong = Some(format!(
            "mark {mark} of {:?}, read {:?}\nat the replica {replayed:?}\nthe stream:\n{stream}",
            self.names, read.keys
        ));
    }

    /// Waits until the replica has the server's keys.
    pub fn finish(&mut self, world: &World, lockstep: &Lockstep) -> Result<(), String> {
        if self.replay.is_none() {
            return Ok(());
        }
        let lists = [ORDER, SORTED].map(str::to_string);
        let names: Vec<String> = self.names.iter().cloned().chain(lists).collect();
        let mut reader = world.connect();
        let began = lockstep.steps();
        loop {
            self.tick(world, lockstep);
            let ours = keys_of(&mut reader, &names, world, lockstep);
            let replay = self.replay.as_mut().expect("it stays attached");
            let has_snapshot = replay.has_snapshot();
            let databases = if has_snapshot { 0..DATABASES } else { 0..0 };
            let theirs: Vec<Seen> = databases.flat_map(|db| replay.keys(db, &names)).collect();
            if has_snapshot && are_equal(&ours, &theirs, world) {
                break;
            }
            if lockstep.steps() - began > REST_STEPS_MAX {
                let keys = format!("the keys {names:?} are {ours:?}\nat the replica {theirs:?}");
                return Err(format!("{keys}\nthe stream:\n{}", replay.shown()));
            }
        }
        reader.link.close();
        self.ticker.link.close();
        let is_missing =
            |mark: &&i64| self.read.contains_key(mark) && !self.replayed.contains_key(mark);
        if let Some(mark) = self.expected.iter().find(is_missing) {
            let stream = self.replay.as_ref().map_or(String::new(), Replay::shown);
            return Err(format!("mark {mark} is not in the stream:\n{stream}"));
        }
        self.wrong.take().map_or(Ok(()), Err)
    }

    /// Advances the clock, and receives what comes.
    fn tick(&mut self, world: &World, lockstep: &Lockstep) {
        world.clock.advance_ms(1);
        self.ticker.send(&["PING"]);
        let mut steps = 0;
        wait_until(lockstep, "the stream", || {
            steps += 1;
            world.run_offloaded();
            self.read_stream();
            while self.ticker.try_read().is_some() {}
            steps > 100
        });
    }
}

/// Returns the keys of all databases.
fn keys_of(reader: &mut Client, names: &[String], world: &World, lockstep: &Lockstep) -> Vec<Seen> {
    let mut ask = |args: &[&str]| ask(reader, world, lockstep, args);
    let mut keys = Vec::new();
    for db in 0..DATABASES {
        ask(&["SELECT", &db.to_string()]);
        keys.extend(names.iter().map(|name| seen(name, &mut ask)));
    }
    keys
}

/// Whether the keys are equal. A key that has expired may be there or not.
fn are_equal(ours: &[Seen], theirs: &[Seen], world: &World) -> bool {
    let now_ms = Clock::Manual(world.clock.clone()).unix_ms();
    let is_gone =
        |seen: &Seen| seen.as_ref().is_none_or(|(_, due)| due.is_some_and(|due| due <= now_ms));
    let is_equal = |(one, other): (&Seen, &Seen)| one == other || is_gone(one) && is_gone(other);
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(is_equal)
}

fn number(text: &str) -> i64 {
    text.parse().expect("a mark is a number")
}
