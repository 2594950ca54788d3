//! Random clients that push to lists and pop from them with waiting commands; every element is
//! accounted for.
//!
//! ```text
//!   q0 .. q3   pushed to, popped from      each pusher's elements come in the order of its pushes
//!   m0 .. m3   also moved between          no element is lost or comes twice
//! ```
//! Meanwhile an admin kills, unblocks and pauses clients, SORT takes the slices of all shards, and
//! a replica follows.
//!
//! An element's name consists of the key that it was pushed to, its pusher, and a growing number.

use super::linear::{ask, wait_until};
use super::lockstep::{At, Lockstep};
use super::replay::Replay;
use super::{Client, World, encode};
use annulet::base::clock::Clock;
use annulet::base::rng::Rng;
use annulet::resp::Value;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Steps after which a run counts as stuck.
const STUCK_STEPS: u64 = 3_000_000;

/// Consecutive checks without work after which a run counts as finished.
const QUIET_LOOKS: u32 = 50;

/// The longest pause of clients, in milliseconds.
const PAUSE_MS_MAX: u64 = 20;

/// Steps after which what has happened must be in the stream.
const STREAM_STEPS_MAX: u64 = 100_000;

/// A client that pops.
struct Popper {
    client: Client,
    id: Option<u64>,
    /// The pending request, and the step at which it was sent.
    asked: Option<(Ask, u64)>,
    /// Whether the admin has sent a command that ends the connection.
    is_doomed: bool,
}

#[derive(Clone, Debug)]
enum Ask {
    Id,
    /// A pop from these keys.
    Pop(Vec<String>),
    /// A move from a key to another.
    Move(String, String),
}

/// An element that a client got: when it was requested, and when it came.
struct Got {
    asked: u64,
    came: u64,
}

/// All clients of a run.
pub struct Waiting {
    rng: Rng,
    poppers: Vec<Popper>,
    pushers: Vec<(Client, u32)>,
    admin: (Client, bool),
    pushes_left: usize,
    /// Remaining times that a client leaves or is unblocked. Without a limit they would outrun
    /// shards that are frozen.
    disturbances_left: usize,
    next: HashMap<(usize, String), u32>,
    pushed: HashSet<String>,
    got: HashMap<String, Got>,
    /// Pops whose client left before the reply: each of them may have taken an element.
    at_risk: usize,
    /// Every pause ends before this, in Unix milliseconds.
    paused_until_ms: u64,
    replay: Option<Replay>,
    hasher: DefaultHasher,
    /// The first fault.
    pub wrong: Option<String>,
}

fn unix_ms(world: &World) -> u64 {
    Clock::Manual(world.clock.clone()).unix_ms()
}

/// Whether every shard waits for an event.
fn is_quiet(world: &World, lockstep: &Lockstep) -> bool {
    let shards = 0..world.mesh.shards();
    let is_idle = |shard| world.mesh.depth(shard) == 0 && lockstep.is_waiting(shard);
    world.network.is_idle() && shards.into_iter().all(is_idle)
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

impl Waiting {
    /// Creates the clients of a world.
    pub fn new(world: &World) -> Waiting {
        let mut rng = Rng::new(world.seed ^ 0xb10c);
        let poppers = (0..3 + rng.below(5))
            .map(|_| Popper { client: world.connect(), id: None, asked: None, is_doomed: false })
            .collect();
        let pushers = (0..1 + rng.below(3)).map(|_| (world.connect(), 0)).collect();
        Waiting {
            poppers,
            pushers,
            admin: (world.connect(), false),
            pushes_left: 60,
            disturbances_left: 15,
            next: HashMap::new(),
            pushed: HashSet::new(),
            got: HashMap::new(),
            at_risk: 0,
            paused_until_ms: 0,
            replay: None,
            hasher: DefaultHasher::new(),
            wrong: None,
            rng,
        }
    }

    /// Returns a hash of all replies.
    pub fn fingerprint(&self) -> u64 {
        self.hasher.clone().finish()
    }

    fn describe(&self) -> String {
        let pushers: Vec<u32> = self.pushers.iter().map(|(_, due)| *due).collect();
        let poppers: Vec<_> = self.poppers.iter().map(|popper| &popper.asked).collect();
        let (left, admin) = (self.pushes_left, self.admin.1);
        format!("{left} pushes left, {pushers:?} replies due, admin {admin}, {poppers:?}")
    }

    fn key(&mut self, kind: char) -> String {
        format!("{kind}{}", self.rng.below(4))
    }

    /// Runs until everything is pushed, and nothing moves any more.
    pub fn drive(&mut self, world: &World, lockstep: &Lockstep) {
        let mut looks = 0;
        while self.wrong.is_none() && looks < QUIET_LOOKS {
            assert!(
                lockstep.steps() < STUCK_STEPS,
                "stuck: {}\n{}",
                lockstep.describe(),
                self.describe()
            );
            let has_moved = self.step(world, lockstep) || self.pushes_left > 0;
            looks = if has_moved || !is_quiet(world, lockstep) { 0 } else { looks + 1 };
            let is_paused = unix_ms(world) < self.paused_until_ms;
            if (self.pushes_left > 0 || is_paused) && self.rng.below(100) == 0 {
                world.clock.advance_ms(self.rng.below(20));
                if is_paused {
                    // A waiting shard of the simulation does not see that its deadline passes.
                    world.mesh.ring_all();
                }
            }
            if is_paused {
                looks = 0;
            }
            if world.offloads() && self.rng.below(5) == 0 && world.run_offloaded() {
                looks = 0;
            }
            self.follow(world);
            if self.pushes_left > 0 {
                world.step_mover();
            } else if world.end_move() {
                looks = 0;
            }
            lockstep.pass(At::Client);
        }
        if self.wrong.is_none() {
            self.account(world, lockstep);
        }
        let mut looks = 0;
        wait_until(lockstep, "all shards are idle", || {
            looks = if is_quiet(world, lockstep) { looks + 1 } else { 0 };
            looks == QUIET_LOOKS
        });
    }

    /// Lets a replica attach at some time, and receives what has come.
    fn follow(&mut self, world: &World) {
        match &mut self.replay {
            None if self.rng.below(300) == 0 => self.replay = Some(Replay::attach(world)),
            None => {}
            Some(replay) => while replay.next().is_some() {},
        }
    }

    fn step(&mut self, world: &World, lockstep: &Lockstep) -> bool {
        let mut moved = false;
        for at in 0..self.pushers.len() {
            moved |= self.step_pusher(at);
        }
        for at in 0..self.poppers.len() {
            moved |= self.step_popper(at, world, lockstep);
        }
        let (admin, is_out) = &mut self.admin;
        admin.pump();
        if let Some(reply) = admin.try_read() {
            *is_out = false;
            // A pause that begins late ends late.
            self.paused_until_ms = self.paused_until_ms.max(unix_ms(world) + PAUSE_MS_MAX);
            format!("{reply:?}").hash(&mut self.hasher);
            moved = true;
        }
        moved
    }

    fn step_pusher(&mut self, at: usize) -> bool {
        let mut moved = false;
        self.pushers[at].0.pump();
        while let Some(reply) = self.pushers[at].0.try_read() {
            self.pushers[at].1 -= 1;
            format!("{reply:?}").hash(&mut self.hasher);
            moved = true;
        }
        if self.pushes_left == 0 || self.pushers[at].1 > 0 || self.rng.below(6) != 0 {
            return moved;
        }
        if self.rng.below(10) == 0 {
            let (list, others) = (self.key('q'), "m*");
            let args = ["SORT", &list, "BY", others, "GET", others, "GET", "#"];
            let some = [&args[..], &["KEYS", "*"], &["DBSIZE"]][self.rng.below(3) as usize];
            self.pushers[at].0.send(some);
            self.pushers[at].1 = 1;
            return true;
        }
        self.pushes_left -= 1;
        let mut bytes = Vec::new();
        let is_transaction = self.rng.below(4) == 0;
        let pushes = 1 + self.rng.below(3);
        if is_transaction {
            bytes.extend(encode(&["MULTI"]));
        }
        for _ in 0..pushes {
            let kind = if self.rng.below(2) == 0 { 'q' } else { 'm' };
            let key = self.key(kind);
            let mut args = vec!["RPUSH".to_string(), key.clone()];
            for _ in 0..1 + self.rng.below(2) {
                let number = self.next.entry((at, key.clone())).or_default();
                *number += 1;
                let element = format!("{key}.{at}.{number}");
                self.pushed.insert(element.clone());
                args.push(element);
            }
            bytes.extend(encode(&args));
        }
        if is_transaction {
            bytes.extend(encode(&["EXEC"]));
        }
        self.pushers[at].0.send_bytes(&bytes);
        self.pushers[at].1 = pushes as u32 + if is_transaction { 2 } else { 0 };
        true
    }

    fn step_popper(&mut self, at: usize, world: &World, lockstep: &Lockstep) -> bool {
        self.poppers[at].client.pump();
        if self.poppers[at].is_doomed && self.poppers[at].client.link.is_closed() {
            let is_pop = matches!(self.poppers[at].asked, Some((Ask::Pop(_), _)));
            self.at_risk += usize::from(is_pop);
            let client = world.connect();
            self.poppers[at] = Popper { client, id: None, asked: None, is_doomed: false };
            return true;
        }
        if let Some(reply) = self.poppers[at].client.try_read() {
            let (ask, asked) = self.poppers[at].asked.take().expect("a request is pending");
            self.take(at, ask, asked, &reply, lockstep.steps());
            return true;
        }
        if self.poppers[at].asked.is_some() {
            return self.disturb(at, world);
        }
        if self.pushes_left == 0 && self.rng.below(4) == 0 {
            return false;
        }
        let is_new = self.poppers[at].id.is_none();
        let (args, ask) = if is_new {
            (vec!["CLIENT".to_string(), "ID".to_string()], Ask::Id)
        } else {
            self.ask()
        };
        self.poppers[at].client.send(&args);
        self.poppers[at].asked = Some((ask, lockstep.steps()));
        true
    }

    /// Draws a command that may wait.
    fn ask(&mut self) -> (Vec<String>, Ask) {
        let timeout = ["0", "0", "0.005", "0.03"][self.rng.below(4) as usize];
        let arg = |arg: &str| arg.to_string();
        if self.rng.below(3) == 0 {
            let (from, to) = (self.key('m'), self.key('m'));
            let args = ["BLMOVE", &from, &to, "LEFT", "RIGHT", timeout].map(arg).to_vec();
            return (args, Ask::Move(from, to));
        }
        let keys: Vec<String> = (0..1 + self.rng.below(3))
            .map(|_| {
                let kind = if self.rng.below(3) == 0 { 'm' } else { 'q' };
                self.key(kind)
            })
            .collect();
        let mut args = vec![arg("BLPOP")];
        args.extend(keys.iter().cloned());
        args.push(arg(timeout));
        (args, Ask::Pop(keys))
    }

    /// Sometimes disconnects or unblocks a waiting client.
    fn disturb(&mut self, at: usize, world: &World) -> bool {
        let is_over = self.pushes_left == 0 || self.disturbances_left == 0;
        if is_over || self.rng.below(400) != 0 {
            return false;
        }
        self.disturbances_left -= 1;
        let popper = &mut self.poppers[at];
        match self.rng.below(4) {
            0 => {
                let is_pop = matches!(popper.asked, Some((Ask::Pop(_), _)));
                self.at_risk += usize::from(is_pop);
                if self.rng.below(2) == 0 {
                    popper.client.link.reset();
                } else {
                    popper.client.link.close();
                }
                let client = world.connect();
                *popper = Popper { client, id: None, asked: None, is_doomed: false };
            }
            1 if !self.admin.1 => self.pause(world),
            _ if !self.admin.1 => {
                let Some(id) = popper.id else { return false };
                let id = id.to_string();
                match self.rng.below(4) {
                    0 => self.admin.0.send(&["CLIENT", "UNBLOCK", &id, "TIMEOUT"]),
                    1 => self.admin.0.send(&["CLIENT", "UNBLOCK", &id, "ERROR"]),
                    _ => {
                        popper.is_doomed = true;
                        self.admin.0.send(&["CLIENT", "KILL", "ID", &id]);
                    }
                }
                self.admin.1 = true;
            }
            _ => return false,
        }
        true
    }

    /// Sends a pause of clients.
    fn pause(&mut self, world: &World) {
        let ms = 1 + self.rng.below(PAUSE_MS_MAX);
        let kind = ["WRITE", "ALL"][self.rng.below(2) as usize];
        self.admin.0.send(&["CLIENT", "PAUSE", &ms.to_string(), kind]);
        self.admin.1 = true;
        self.paused_until_ms = unix_ms(world) + 2 * PAUSE_MS_MAX;
    }

    fn take(&mut self, at: usize, ask: Ask, asked: u64, reply: &Value, came: u64) {
        format!("{at} {reply:?}").hash(&mut self.hasher);
        match (ask, reply) {
            (Ask::Id, Value::Integer(id)) => self.poppers[at].id = Some(*id as u64),
            (_, Value::Null | Value::Error(_)) => {}
            (Ask::Pop(keys), Value::Array(args)) if args.len() == 2 => {
                let (key, element) = (text(&args[0]), text(&args[1]));
                let is_known = keys.contains(&key) && self.pushed.contains(&element);
                let before = self.got.insert(element.clone(), Got { asked, came });
                if !is_known || before.is_some() {
                    self.wrong = Some(format!("{element} of {key} came for {keys:?}, or twice"));
                }
            }
            (Ask::Move(..), Value::Bulk(bytes)) => {
                let element = String::from_utf8_lossy(bytes).into_owned();
                if !self.pushed.contains(&element) {
                    self.wrong = Some(format!("{element} was never pushed"));
                }
            }
            (ask, reply) => self.wrong = Some(format!("{ask:?} gave {reply:?}")),
        }
    }

    /// Accounts for all elements once the server is idle.
    fn account(&mut self, world: &World, lockstep: &Lockstep) {
        let mut client = world.connect();
        let mut ask = |args: &[&str]| ask(&mut client, world, lockstep, args);
        let mut left = HashMap::new();
        for key in (0..4).flat_map(|n| [format!("q{n}"), format!("m{n}")]) {
            let Value::Array(elements) = ask(&["LRANGE", &key, "0", "-1"]) else {
                panic!("a list")
            };
            let elements: Vec<String> = elements.iter().map(text).collect();
            left.insert(key, elements);
        }
        self.compare_with_replica(&left, world, lockstep);
        for popper in &self.poppers {
            let keys = match &popper.asked {
                Some((Ask::Pop(keys), _)) => keys.clone(),
                Some((Ask::Move(from, _), _)) => vec![from.clone()],
                _ => continue,
            };
            if let Some(key) = keys.iter().find(|key| !left[*key].is_empty()) {
                let elements = &left[key];
                self.wrong = Some(format!("a client waits for {key}, which holds {elements:?}"));
                return;
            }
        }
        let lying: Vec<&String> = left.values().flatten().collect();
        let all: HashSet<&String> = lying.iter().copied().chain(self.got.keys()).collect();
        let missing = self.pushed.iter().filter(|element| !all.contains(element)).count();
        if all.len() != lying.len() + self.got.len() || missing > self.at_risk {
            let at_risk = self.at_risk;
            self.wrong = Some(format!(
                "{missing} elements are missing, at most {at_risk} may be; or some came twice"
            ));
        }
        self.check_order();
        self.leave(lockstep, &mut ask);
    }

    /// Waits until the replica has the same lists.
    fn compare_with_replica(
        &mut self,
        lists: &HashMap<String, Vec<String>>,
        world: &World,
        lockstep: &Lockstep,
    ) {
        let Some(replay) = &mut self.replay else { return };
        let mut ticker = world.connect();
        let began = lockstep.steps();
        loop {
            world.clock.advance_ms(1);
            ticker.send(&["PING"]);
            wait_until(lockstep, "a tick", || ticker.try_read().is_some());
            while replay.next().is_some() {}
            let stream = replay.shown();
            let is_there = replay.has_snapshot();
            let (copy, mut reader) = replay.copy();
            let mut theirs = |key: &str| match reader.run(copy, ["LRANGE", key, "0", "-1"]) {
                Value::Array(elements) => elements.iter().map(text).collect(),
                other => panic!("{other:?}"),
            };
            let differs = |(key, ours): &(&String, &Vec<String>)| -> bool {
                let theirs: Vec<String> = theirs(key);
                theirs != **ours
            };
            let different = lists.iter().find(differs);
            match different {
                None if is_there => return,
                different if lockstep.steps() - began > STREAM_STEPS_MAX => {
                    self.wrong = Some(format!("{different:?} differs at the replica:\n{stream}"));
                    return;
                }
                _ => {}
            }
        }
    }

    /// Checks the order of one pusher's elements in a key: none was requested after a later element
    /// had come.
    fn check_order(&mut self) {
        let parts = |element: &str| {
            let mut parts = element.rsplitn(2, '.');
            let number: u32 = parts.next().and_then(|n| n.parse().ok()).expect("a number");
            (parts.next().expect("a key and a pusher").to_string(), number)
        };
        let plain: Vec<_> = self
            .got
            .iter()
            .filter(|(element, _)| element.starts_with('q'))
            .map(|(element, got)| (parts(element), got))
            .collect();
        for ((from, number), got) in &plain {
            let earlier =
                plain.iter().filter(|((other, before), _)| other == from && before < number);
            for ((_, before), other) in earlier {
                if got.came < other.asked {
                    self.wrong = Some(format!("{from}.{number} came before {from}.{before}"));
                }
            }
        }
    }

    /// Disconnects all waiting clients, and checks that no key is waited for.
    fn leave(&mut self, lockstep: &Lockstep, ask: &mut dyn FnMut(&[&str]) -> Value) {
        for popper in &self.poppers {
            popper.client.link.reset();
        }
        let is_empty = |info: &Value| match info {
            Value::Bulk(text) => {
                let text = String::from_utf8_lossy(text);
                text.contains("\r\nblocked_clients:0\r\n")
                    && text.contains("\r\ntotal_blocking_keys:0\r\n")
            }
            _ => false,
        };
        let began = lockstep.steps();
        while !is_empty(&ask(&["INFO", "clients"])) {
            if lockstep.steps() - began > STUCK_STEPS {
                self.wrong = Some("a client that has left still waits".to_string());
                return;
            }
        }
    }
}
