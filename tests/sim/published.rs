//! Pub/sub over several shards looks like a single Redis: what subscribers see agrees with what
//! they read, with the replies of PUBLISH, and with each other.
//!
//! Each writer has keys and a channel. It writes a number to its keys and publishes it. Readers
//! subscribe to all channels and read the keys on the same connections. So at every reply a reader
//! knows from its messages which numbers the keys may have:
//!
//! | a writer does | a key has, after message n |
//! | --- | --- |
//! | SET, then PUBLISH | n or n + 1 |
//! | both in one EXEC | n |
//! | INCR of a key with notifications | the number of notifications |
//!
//! Other clients subscribe and unsubscribe all the time. The reply of each PUBLISH is the number of
//! its messages that all clients together have got. All clients see messages in one order.

use super::histories::{Repeat, seeds};
use crate::harness::linear::{run, wait_until};
use crate::harness::lockstep::{At, Lockstep};
use crate::harness::{Client, Setup, World, key_on};
use annulet::base::rng::Rng;
use annulet::config::EventClasses;
use annulet::mesh::Preempt;
use annulet::resp::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

const SEEDS: u64 = 150;
/// Steps after which a story counts as stuck.
const STEPS_MAX: u64 = 5_000_000;
const WRITERS: usize = 3;
const ROUNDS: i64 = 12;

/// A message: its writer and its number.
type Message = (usize, i64);

/// How a writer publishes its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// SET, then PUBLISH.
    Plain,
    /// Both in one transaction, which writes two keys.
    Exec,
}

struct Writer {
    client: Client,
    style: Style,
    number: i64,
    /// Numbers whose PUBLISH has no reply yet.
    published: VecDeque<i64>,
    /// Replies to skip before each of them.
    skipped: usize,
    /// Number of rounds that are sent at once.
    depth: i64,
}

/// What a reply to a reader has to show.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// The two values of a writer.
    Keys(usize),
    /// The values of all writers.
    All,
    /// The value of the counter.
    Count,
    /// The counter's value after the reader has raised it.
    Raised,
}

struct Reader {
    client: Client,
    asked: VecDeque<Asked>,
    /// Last number of each writer.
    last: [i64; WRITERS],
    /// Notifications of the counter so far.
    notified: i64,
    seen: Vec<Message>,
}

/// A client that subscribes and unsubscribes.
struct Churner {
    client: Client,
    /// Names with a subscription.
    names: HashSet<String>,
    /// Whether it waits for the reply to PING.
    waits: bool,
    seen: Vec<Message>,
}

struct Story {
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    churners: Vec<Churner>,
    keys: Vec<[String; 2]>,
    counter: String,
    /// Replies of PUBLISH.
    counts: HashMap<Message, i64>,
    rng: Rng,
    seed: u64,
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?} is no text"),
    }
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        Value::Integer(number) => *number,
        other => text(other).parse().expect("a number"),
    }
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) | Value::Push(values) => values,
        other => panic!("{other:?} is no array"),
    }
}

/// Returns the message that a client has got: its writer and number.
fn message(values: &[Value]) -> Message {
    let channel = text(&values[values.len() - 2]);
    let writer = channel.strip_prefix("news:").expect("a writer's channel");
    (writer.parse().expect("a number"), number(&values[values.len() - 1]))
}

impl Story {
    fn new(world: &World, shards: usize, seed: u64) -> Story {
        let mut rng = Rng::new(seed ^ 0x9b5b);
        let mut number = 0;
        let mut key = |rng: &mut Rng| {
            number += 1;
            key_on(shards, rng.below(shards as u64) as usize, number)
        };
        let keys = (0..WRITERS).map(|_| [key(&mut rng), key(&mut rng)]).collect();
        let counter = format!("counter:{}", key(&mut rng));
        let writers = (0..WRITERS).map(|_| Writer {
            client: world.connect(),
            style: [Style::Plain, Style::Exec][rng.below(2) as usize],
            number: 0,
            published: VecDeque::new(),
            skipped: 0,
            depth: 1 + rng.below(3) as i64,
        });
        let writers = writers.collect();
        let readers = (0..3).map(|_| Reader {
            client: world.connect(),
            asked: VecDeque::new(),
            last: [0; WRITERS],
            notified: 0,
            seen: Vec::new(),
        });
        let readers = readers.collect();
        let churner = |_| Churner {
            client: world.connect(),
            names: HashSet::new(),
            waits: false,
            seen: Vec::new(),
        };
        let churners = (0..3).map(churner).collect();
        Story { writers, readers, churners, keys, counter, counts: HashMap::new(), rng, seed }
    }

    /// Subscribes the readers, before anything is published.
    fn prepare(&mut self, lockstep: &Lockstep) {
        let by_pattern = self.rng.below(2) == 0;
        let notice = format!("__keyspace@0__:{}", self.counter);
        for reader in &mut self.readers {
            reader.client.send(&["HELLO", "3"]);
            if by_pattern {
                reader.client.send(&["PSUBSCRIBE", "news:*"]);
            } else {
                let channels: Vec<String> = (0..WRITERS).map(|at| format!("news:{at}")).collect();
                let all = [&["SUBSCRIBE".to_string()], &channels[..]].concat();
                reader.client.send(&all);
            }
            reader.client.send(&["SUBSCRIBE", &notice]);
            let count = if by_pattern { 3 } else { 2 + WRITERS };
            let mut left = count;
            wait_until(lockstep, "the readers subscribe", || {
                left -= usize::from(reader.client.try_read().is_some());
                left == 0
            });
        }
    }

    /// Lets one client do something. Returns false when all is done.
    fn step(&mut self) -> bool {
        let is_writing = self.writers.iter().any(|it| it.number < ROUNDS || it.skipped > 0);
        match self.rng.below(6) {
            0 | 1 => self.write(),
            2 | 3 if is_writing => self.ask(),
            4 if is_writing => self.churn(),
            _ => {}
        }
        self.take_counts();
        (0..self.readers.len()).for_each(|at| self.read(at));
        self.churners.iter_mut().for_each(Churner::read);
        is_writing || self.readers.iter().any(|reader| !reader.asked.is_empty())
    }

    /// A writer publishes its next numbers.
    fn write(&mut self) {
        let at = self.rng.below(WRITERS as u64) as usize;
        let (writer, [first, second]) = (&mut self.writers[at], &self.keys[at]);
        if writer.skipped > 0 || writer.number >= ROUNDS {
            return;
        }
        let channel = format!("news:{at}");
        let mut bytes = Vec::new();
        for _ in 0..writer.depth {
            writer.number += 1;
            let value = writer.number.to_string();
            let mut send = |args: &[&str]| bytes.extend(crate::harness::encode(args));
            let set_and_publish = |send: &mut dyn FnMut(&[&str])| {
                send(&["SET", first, &value]);
                send(&["PUBLISH", &channel, &value]);
            };
            match writer.style {
                Style::Plain => {
                    set_and_publish(&mut send);
                    writer.skipped += 2;
                }
                Style::Exec => {
                    send(&["MULTI"]);
                    set_and_publish(&mut send);
                    send(&["SET", second, &value]);
                    send(&["EXEC"]);
                    writer.skipped += 5;
                }
            }
            writer.published.push_back(writer.number);
        }
        writer.client.send_bytes(&bytes);
    }

    /// Takes the replies of PUBLISH.
    fn take_counts(&mut self) {
        for (at, writer) in self.writers.iter_mut().enumerate() {
            while let Some(value) = writer.client.try_read() {
                assert!(!matches!(value, Value::Error(_)), "seed {}: {value:?}", self.seed);
                writer.skipped -= 1;
                let count = match (writer.style, &value) {
                    (Style::Plain, Value::Integer(count)) => *count,
                    (Style::Exec, Value::Array(values)) => number(&values[1]),
                    _ => continue,
                };
                let published = writer.published.pop_front().expect("it was published");
                self.counts.insert((at, published), count);
            }
        }
    }

    /// A reader asks for some keys.
    fn ask(&mut self) {
        let at = self.rng.below(self.readers.len() as u64) as usize;
        let of = self.rng.below(WRITERS as u64) as usize;
        let reader = &mut self.readers[at];
        if reader.asked.len() > 3 {
            return;
        }
        let [first, second] = &self.keys[of];
        let asked = match self.rng.below(5) {
            0 => {
                let all = self.keys.iter().flatten().map(String::as_str);
                reader.client.send(&["MGET"].into_iter().chain(all).collect::<Vec<_>>());
                Asked::All
            }
            1 => {
                reader.client.send(&["GET", &self.counter]);
                Asked::Count
            }
            2 => {
                reader.client.send(&["INCR", &self.counter]);
                Asked::Raised
            }
            _ => {
                reader.client.send(&["MGET", first, second]);
                Asked::Keys(of)
            }
        };
        reader.asked.push_back(asked);
    }

    /// Reads what a reader has got, and checks it.
    fn read(&mut self, at: usize) {
        let (seed, styles) = (self.seed, self.writers.iter().map(|it| it.style));
        let styles: Vec<Style> = styles.collect();
        let reader = &mut self.readers[at];
        while let Some(value) = reader.client.try_read() {
            if let Value::Push(values) = &value {
                reader.take_push(seed, values);
                continue;
            }
            let asked = reader.asked.pop_front().expect("a reply to a command");
            let check = |writer: usize, values: &[Value]| {
                let last = reader.last[writer];
                let found = [number(&values[0]), number(&values[1])];
                let is_right = match styles[writer] {
                    Style::Plain => found[0] == last || found[0] == last + 1,
                    Style::Exec => found == [last, last],
                };
                assert!(
                    is_right,
                    "seed {seed}: reader {at} has message {last} of writer {writer} \
                     ({:?}), and reads {found:?}",
                    styles[writer]
                );
            };
            match asked {
                Asked::Keys(writer) => check(writer, elements(&value)),
                Asked::All => {
                    let values = elements(&value).chunks(2).enumerate();
                    values.for_each(|(writer, values)| check(writer, values));
                }
                Asked::Count => assert_eq!(number(&value), reader.notified, "seed {seed}"),
                Asked::Raised => assert_eq!(number(&value), reader.notified + 1, "seed {seed}"),
            }
        }
    }

    /// A client changes its subscriptions.
    fn churn(&mut self) {
        let at = self.rng.below(self.churners.len() as u64) as usize;
        let name = format!("news:{}", self.rng.below(WRITERS as u64));
        let args: &[&str] = match self.rng.below(6) {
            0 | 1 => &["SUBSCRIBE", &name],
            2 => &["PSUBSCRIBE", "n*"],
            3 => &["UNSUBSCRIBE", &name],
            4 => &["PUNSUBSCRIBE", "n*"],
            _ => &["UNSUBSCRIBE"],
        };
        let churner = &mut self.churners[at];
        if !churner.waits {
            churner.client.send(args);
            churner.client.send(&["PING"]);
            churner.waits = true;
        }
    }

    /// Checks counts and orders after all messages have arrived.
    fn finish(&mut self, lockstep: &Lockstep) {
        for at in 0..self.churners.len() {
            for _ in 0..2 {
                wait_until(lockstep, "the last messages", || {
                    self.churners[at].read();
                    !self.churners[at].waits
                });
                // The second PING follows the last message.
                self.churners[at].client.send(&["PING"]);
                self.churners[at].waits = true;
            }
        }
        for at in 0..self.readers.len() {
            self.readers[at].asked.push_back(Asked::Count);
            let counter = self.counter.clone();
            self.readers[at].client.send(&["GET", &counter]);
            wait_until(lockstep, "the last messages", || {
                self.read(at);
                self.readers[at].asked.is_empty()
            });
            assert_eq!(self.readers[at].last, [ROUNDS; WRITERS].map(|_| self.readers[at].last[0]));
        }
        let seen = || {
            let readers = self.readers.iter().map(|reader| &reader.seen);
            readers.chain(self.churners.iter().map(|churner| &churner.seen))
        };
        let mut got: HashMap<Message, i64> = HashMap::new();
        seen().flatten().for_each(|message| *got.entry(*message).or_default() += 1);
        assert_eq!(got, self.counts, "seed {}: the replies of PUBLISH", self.seed);
        assert_one_order(seen(), self.seed);
    }
}

impl Reader {
    fn take_push(&mut self, seed: u64, values: &[Value]) {
        let channel = text(&values[values.len() - 2]);
        if channel.starts_with("__keyspace") {
            self.notified += 1;
            return;
        }
        let (writer, number) = message(values);
        assert_eq!(number, self.last[writer] + 1, "seed {seed}: no message is lost or doubled");
        self.last[writer] = number;
        self.seen.push((writer, number));
    }
}

impl Churner {
    fn read(&mut self) {
        while let Some(value) = self.client.try_read() {
            if value == Value::Simple(b"PONG".to_vec()) {
                self.waits = false;
                continue;
            }
            let values = elements(&value);
            let name = || text(&values[1]);
            match text(&values[0]).as_str() {
                "subscribe" | "psubscribe" => {
                    self.names.insert(name());
                }
                "unsubscribe" | "punsubscribe" if values[1] != Value::Null => {
                    self.names.remove(&name());
                }
                "unsubscribe" | "punsubscribe" => {}
                "message" | "pmessage" => {
                    assert!(self.names.contains(&name()), "a message without a subscription");
                    self.seen.push(message(values));
                }
                "pong" => self.waits = false,
                other => panic!("{other}"),
            }
        }
    }
}

/// Checks that there is one order of all messages that every client has seen.
fn assert_one_order<'s>(seen: impl Iterator<Item = &'s Vec<Message>>, seed: u64) {
    let mut behind: HashMap<Message, HashSet<Message>> = HashMap::new();
    for messages in seen {
        for pair in messages.windows(2).filter(|pair| pair[0] != pair[1]) {
            behind.entry(pair[0]).or_default().insert(pair[1]);
            behind.entry(pair[1]).or_default();
        }
    }
    while !behind.is_empty() {
        let later: HashSet<Message> = behind.values().flatten().copied().collect();
        let before = behind.len();
        behind.retain(|message, _| later.contains(message));
        assert!(behind.len() < before, "seed {seed}: these have no order: {behind:?}");
    }
}

fn play(seed: u64) {
    let shards = 1 + (seed % 4) as usize;
    let lockstep = Lockstep::new(shards + 1, seed);
    let preempt: Arc<dyn Preempt> = Arc::<Lockstep>::clone(&lockstep);
    let mut setup = Setup { preempt: Some(preempt), ..Setup::new(shards, seed) };
    setup.config.notify_keyspace_events = EventClasses::named(b"K$");
    let world = World::new(setup);
    run(&world, &lockstep, None, || {
        let mut story = Story::new(&world, shards, seed);
        story.prepare(&lockstep);
        // While a client is tracking, shards note which units have run on some shards only. Its
        // replies wait for the end of these units.
        let mut tracking = world.connect();
        let mut ask = |args: &[&str]| {
            tracking.send(args);
            wait_until(&lockstep, "a tracking client", || tracking.try_read().is_some());
        };
        ask(&["CLIENT", "TRACKING", "ON"]);
        let until = lockstep.steps() + STEPS_MAX;
        while story.step() {
            assert!(lockstep.steps() < until, "seed {seed}: stuck, {}", lockstep.describe());
            lockstep.pass(At::Client);
        }
        lockstep.pass(At::Client);
        story.finish(&lockstep);
        ask(&["GET", &story.counter]);
    });
}

#[test]
fn subscribers_see_one_redis() {
    for seed in seeds(SEEDS) {
        let _repeat = Repeat(seed, "published");
        play(seed);
    }
}
