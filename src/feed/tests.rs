//! The feed under random schedules: shards, inboxes, locks and clients that act on what they saw.
//!
//! One shard at a time does one step of a turn; the merger runs anywhere in between. A client sends
//! one unit after the other, to any shard. It has seen every unit that arrived before its own unit
//! on the same shard, and has run. Its unit must come later in the stream than all of these. Its
//! next unit must come later than all that the unit has seen.
//!
//! A unit waits for some of the unfinished units that arrived before it, as if they used its keys.

use super::block::{Command, Content, Part, Unit};
use super::journal::{Gap, Journal, Reservation};
use super::lane::Lane;
use super::limits::MERGE_BYTES_MAX;
use super::merge::{Merger, Progress};
use super::output::Output;
use super::shared::Feed;
use super::timestamp::{Timestamp, timestamp_at};
use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::exec::{Glue, Records};
use crate::mesh::{Mesh, Rules};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The merger does not check whether a smaller timestamp may follow.
    WatermarksIgnored,
    /// A part gets the time of the turn that takes it, which is after its posting.
    PartTimestampsLate,
    /// Envelopes carry no timestamp; a part only follows the previous timestamp of its shard.
    EnvelopesWithoutTimestamp,
    /// The turn's time is read before the completions are taken.
    TimeReadEarly,
    /// The merger promises for a parked shard without a check of its inbox.
    PromisedBlindly,
    /// A part that waits holds nothing up, although its siblings may have run.
    GapsNeverFirm,
    /// The merger writes no unit before units that were handed over earlier.
    LateNeverEarly,
    /// A cut does not wait for the units that wait for locks.
    CutAmongGaps,
}

const FAULTS: [Fault; 8] = [
    Fault::WatermarksIgnored,
    Fault::PartTimestampsLate,
    Fault::EnvelopesWithoutTimestamp,
    Fault::TimeReadEarly,
    Fault::PromisedBlindly,
    Fault::GapsNeverFirm,
    Fault::LateNeverEarly,
    Fault::CutAmongGaps,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Propagates nothing.
    Read,
    /// All its parts are one command.
    Joined,
    /// Its parts are commands of one transaction.
    Transaction,
    /// A transaction of two rounds: the first requests locks, the last has the commands.
    Locked,
    Mark,
    /// A mark that all units precede that arrived before it.
    Cut,
}

#[derive(Debug)]
struct Work {
    kind: Kind,
    db: u16,
    client: usize,
    /// The shards that have parts, and whether the part has a command.
    parts: Vec<(usize, bool)>,
    /// The units that its client had seen when it sent this unit.
    after: BTreeSet<usize>,
    seen: BTreeSet<usize>,
    /// What its parts with places in the stream have seen on their shards.
    follows: BTreeSet<usize>,
    running: usize,
    home: usize,
    /// Parts whose locks are not granted yet.
    ungranted: usize,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    work: usize,
    is_release: bool,
    timestamp: Timestamp,
    sequence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Wait,
    Time,
    Tail,
    Drain(usize),
    Serve(usize),
    Parked,
}

#[derive(Debug)]
struct Post {
    work: usize,
    is_release: bool,
    sequence: u64,
    next: usize,
}

#[derive(Debug)]
struct Shard {
    journal: Journal,
    phase: Phase,
    inbox: VecDeque<Message>,
    sockets: VecDeque<usize>,
    ready: VecDeque<usize>,
    /// Transactions of this home whose locks are granted.
    granted: VecDeque<usize>,
    post: Option<Post>,
    /// Units in the order of their arrival, and whether each has run.
    came: Vec<usize>,
    ran: Vec<bool>,
    /// Units that have arrived and have not run.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    reservation: Reservation,
    /// Its index in `came`.
    place: usize,
    /// The places of the units that must run first.
    blockers: Vec<usize>,
}

struct Sim {
    rng: Rng,
    fault: Fault,
    now_ns: u64,
    shards: Vec<Shard>,
    lanes: Vec<Lane>,
    merger: Merger,
    output: Output,
    works: Vec<Work>,
    clients: Vec<(BTreeSet<usize>, bool)>,
    is_sequencer_held: bool,
    posted: u64,
}

impl Sim {
    fn new(seed: u64, fault: Fault) -> Sim {
        let mut rng = Rng::new(seed);
        let shards = 2 + rng.below(4) as usize;
        let clients = 2 + rng.below(6) as usize;
        let shard = || Shard {
            journal: Journal::default(),
            phase: Phase::Wait,
            inbox: VecDeque::new(),
            sockets: VecDeque::new(),
            ready: VecDeque::new(),
            granted: VecDeque::new(),
            post: None,
            came: Vec::new(),
            ran: Vec::new(),
            waiting: Vec::new(),
        };
        let mut merger = Merger::new(shards);
        merger.ignores_watermarks = fault == Fault::WatermarksIgnored;
        merger.ignores_early = fault == Fault::LateNeverEarly;
        Sim {
            rng,
            fault,
            now_ns: 0,
            shards: (0..shards).map(|_| shard()).collect(),
            lanes: (0..shards).map(|_| Lane::default()).collect(),
            merger,
            output: Output::new(1_000),
            works: Vec::new(),
            clients: vec![(BTreeSet::new(), false); clients],
            is_sequencer_held: false,
            posted: 0,
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    /// Sends the next unit of a client that has received its reply.
    fn send(&mut self) {
        let client = self.rng.below(self.clients.len() as u64) as usize;
        if self.clients[client].1 {
            return;
        }
        let shards = self.shards.len();
        let kind = match self.rng.below(20) {
            0..4 => Kind::Read,
            4..10 => Kind::Joined,
            10..13 => Kind::Transaction,
            13..18 => Kind::Locked,
            18 => Kind::Mark,
            _ => Kind::Cut,
        };
        let mut owners: BTreeSet<usize> = BTreeSet::new();
        let wanted = if self.chance(50) { 1 } else { 1 + self.rng.below(shards as u64) as usize };
        let is_mark = matches!(kind, Kind::Mark | Kind::Cut);
        while owners.len() < if is_mark { shards } else { wanted } {
            owners.insert(self.rng.below(shards as u64) as usize);
        }
        let is_silent = is_mark || kind == Kind::Read;
        let parts = owners.iter().map(|owner| (*owner, !is_silent && self.chance(80))).collect();
        let home = self.rng.below(shards as u64) as usize;
        let work = Work {
            kind,
            db: self.rng.below(3) as u16,
            client,
            running: owners.len(),
            parts,
            after: self.clients[client].0.clone(),
            seen: BTreeSet::new(),
            follows: BTreeSet::new(),
            home,
            ungranted: owners.len(),
        };
        self.clients[client].1 = true;
        self.shards[home].sockets.push_back(self.works.len());
        self.works.push(work);
    }

    /// Returns the command of a unit's part.
    fn content(&self, work: usize, shard: usize) -> Content {
        let Work { kind, db, parts, .. } = &self.works[work];
        let mut content = Content::default();
        if parts.contains(&(shard, true)) {
            let is_joined = *kind == Kind::Joined;
            let glue = if is_joined { Glue::Joined } else { Glue::Alone };
            let name = if is_joined { "$3\r\nDEL\r\n" } else { "$4\r\nINCR\r\n" };
            let arg = format!("u{work}.{shard}");
            content.bytes = format!("{name}${}\r\n{arg}\r\n", arg.len()).into_bytes();
            let (head_len, len) = (name.len() as u32, content.bytes.len());
            content.commands.push(Command { at: 0, db: *db, glue, args: 2, head_len, len });
        }
        content
    }

    /// Returns the unit of a work's part in the journal.
    fn unit(&self, work: usize, shard: usize, sequence: u64) -> Unit {
        let Work { kind, parts, .. } = &self.works[work];
        let is_transaction = matches!(kind, Kind::Transaction | Kind::Locked);
        let writers = parts.iter().filter(|(_, propagates)| *propagates).count();
        let all = parts.len() as u16;
        match kind {
            Kind::Mark | Kind::Cut => Unit::Mark { sequence, parts: all, id: work as u64 },
            Kind::Locked if all > 1 => Unit::Part { sequence, parts: all, is_transaction },
            _ if writers > 1 && parts.contains(&(shard, true)) => {
                Unit::Part { sequence, parts: writers as u16, is_transaction }
            }
            _ => Unit::Single { is_transaction },
        }
    }

    /// Receives a unit or part on a shard: it runs, or waits for others.
    fn arrive(&mut self, shard: usize, work: usize, timestamp: Timestamp, sequence: u64) {
        let unit = self.unit(work, shard, sequence);
        let kind = self.works[work].kind;
        let is_mark = matches!(kind, Kind::Mark | Kind::Cut);
        let others: Vec<usize> = self.shards[shard].waiting.iter().map(|it| it.place).collect();
        let mut blockers: Vec<usize> = others.into_iter().filter(|_| self.chance(30)).collect();
        if is_mark {
            blockers.clear();
        }
        // As if its command ran on another thread.
        let is_long = !is_mark && kind != Kind::Locked && self.chance(10);
        let runs = blockers.is_empty() && !is_long && kind != Kind::Locked;
        let is_joint = unit.several().is_some() && kind != Kind::Locked;
        let is_firm = is_joint && self.fault != Fault::GapsNeverFirm;
        let at = &mut self.shards[shard];
        if kind == Kind::Cut && self.fault != Fault::CutAmongGaps {
            at.journal.firm_up_all();
        }
        let place = at.came.len();
        at.came.push(work);
        at.ran.push(false);
        let gap = if is_firm { Gap::Firm } else { Gap::Open };
        let reservation = at.journal.reserve(timestamp, unit, gap);
        let is_granted = blockers.is_empty();
        at.waiting.push(Waiting { reservation, place, blockers });
        if runs {
            self.run(shard, self.shards[shard].waiting.len() - 1);
        } else if is_granted && kind == Kind::Locked {
            self.grant(shard, work);
        }
    }

    /// Grants the locks of a part of a transaction.
    fn grant(&mut self, shard: usize, work: usize) {
        let sent = self.shards[shard].journal.clock.sending();
        let Work { ungranted, home, .. } = &mut self.works[work];
        *ungranted -= 1;
        let (home, is_last) = (*home, *ungranted == 0);
        self.shards[home].journal.clock.answered(sent);
        if is_last {
            self.shards[home].granted.push_back(work);
        }
    }

    /// Receives the last round of a transaction.
    fn release(&mut self, shard: usize, work: usize) {
        let at = &self.shards[shard];
        let is_it = |waiting: &Waiting| at.came[waiting.place] == work;
        let which = at.waiting.iter().position(is_it).expect("it holds locks here");
        self.run(shard, which);
    }

    /// Runs a unit that waits for nothing. It sees the effects of the units that have arrived
    /// before it and have run. All units follow that waited for it.
    fn run(&mut self, shard: usize, which: usize) {
        let Waiting { reservation, place, blockers } = self.shards[shard].waiting.remove(which);
        assert!(blockers.is_empty());
        let work = self.shards[shard].came[place];
        let content = self.content(work, shard);
        let at = &mut self.shards[shard];
        at.journal.fill_content(reservation, content);
        at.ran[place] = true;
        let before = at.came[..place].iter().zip(&at.ran).filter(|(_, ran)| **ran);
        // Parts that propagate nothing have no effects that others see.
        let has_effect = |work: &usize| self.works[*work].parts.contains(&(shard, true));
        let before: Vec<usize> = before.map(|(work, _)| *work).filter(has_effect).collect();
        let done = &mut self.works[work];
        if done.kind == Kind::Locked || done.parts.contains(&(shard, true)) {
            done.follows.extend(&before);
        }
        done.seen.extend(before);
        done.running -= 1;
        if done.running == 0 {
            let (seen, is_busy) = &mut self.clients[done.client];
            seen.extend(&done.seen);
            seen.insert(work);
            *is_busy = false;
        }
        let mut freed = Vec::new();
        for waiting in &mut self.shards[shard].waiting {
            let before = waiting.blockers.len();
            waiting.blockers.retain(|blocker| *blocker != place);
            if before > 0 && waiting.blockers.is_empty() {
                freed.push(waiting.place);
            }
        }
        for place in freed {
            let work = self.shards[shard].came[place];
            if self.works[work].kind == Kind::Locked {
                self.grant(shard, work);
            } else {
                let is_it = |waiting: &Waiting| waiting.place == place;
                let which = self.shards[shard].waiting.iter().position(is_it);
                self.run(shard, which.expect("it waits"));
            }
        }
    }

    /// Runs a unit whose command has come back from another thread. Returns whether there was one.
    fn run_long(&mut self, shard: usize) -> bool {
        let at = &self.shards[shard];
        let is_long = |waiting: &Waiting| {
            let kind = self.works[at.came[waiting.place]].kind;
            waiting.blockers.is_empty() && kind != Kind::Locked
        };
        let long: Vec<usize> =
            (0..at.waiting.len()).filter(|at| is_long(&self.shards[shard].waiting[*at])).collect();
        if long.is_empty() {
            return false;
        }
        self.wake(shard);
        let which = long[self.rng.below(long.len() as u64) as usize];
        self.run(shard, which);
        true
    }

    fn wake(&mut self, shard: usize) {
        let at = &mut self.shards[shard];
        if at.phase == Phase::Parked {
            let promised = self.lanes[shard].wake().expect("the shard is parked");
            at.journal.clock.keep_promise(promised);
            at.phase = Phase::Wait;
        }
    }

    fn step(&mut self, shard: usize) {
        self.now_ns += 1 + self.rng.below(20);
        if self.shards[shard].post.is_some() {
            return self.post(shard);
        }
        if self.chance(20) && self.run_long(shard) {
            return;
        }
        let now_ns = self.now_ns;
        let is_early = self.fault == Fault::TimeReadEarly;
        let at = &mut self.shards[shard];
        match at.phase {
            Phase::Parked => {
                let has_work = !at.sockets.is_empty() || !at.granted.is_empty();
                let is_rung = has_work || !at.inbox.is_empty();
                // A doorbell takes its time.
                if (is_rung && self.chance(20)) || self.rng.below(50) == 0 {
                    self.wake(shard);
                }
            }
            Phase::Wait => {
                at.ready.append(&mut at.sockets);
                at.phase = Phase::Time;
            }
            Phase::Time => {
                at.journal.clock.begin_turn(now_ns);
                at.phase = Phase::Tail;
            }
            Phase::Tail => {
                if is_early {
                    at.ready.append(&mut at.sockets);
                }
                at.phase = Phase::Drain(at.inbox.len());
            }
            Phase::Drain(0) => {
                at.journal.clock.drained();
                at.phase = Phase::Serve(3);
            }
            Phase::Drain(left) => self.drain(shard, left),
            Phase::Serve(left) => self.serve(shard, left),
        }
    }

    fn drain(&mut self, shard: usize, left: usize) {
        let at = &mut self.shards[shard];
        let message = *at.inbox.front().expect("the inbox is not empty up to the tail");
        if message.sequence > self.posted {
            return;
        }
        at.inbox.pop_front();
        at.phase = Phase::Drain(left - 1);
        let clock = &mut at.journal.clock;
        let timestamp = match self.fault {
            Fault::PartTimestampsLate => clock.local(),
            Fault::EnvelopesWithoutTimestamp => clock.arrived(0),
            _ => clock.arrived(message.timestamp),
        };
        if message.is_release {
            self.release(shard, message.work);
        } else {
            self.arrive(shard, message.work, timestamp, message.sequence);
        }
    }

    fn serve(&mut self, shard: usize, left: usize) {
        let at = &mut self.shards[shard];
        if let Some(work) = at.granted.pop_front() {
            at.post = Some(Post { work, is_release: true, sequence: 0, next: 0 });
            return;
        }
        let next = if left > 0 { at.ready.pop_front() } else { None };
        let Some(work) = next else {
            at.journal.hand_over(&self.lanes[shard]);
            at.phase = Phase::Wait;
            let is_idle = at.ready.is_empty() && at.sockets.is_empty() && at.inbox.is_empty();
            if is_idle && !at.journal.has_firm_gap() {
                self.lanes[shard].park(at.journal.clock.sending());
                at.phase = Phase::Parked;
            }
            return;
        };
        at.phase = Phase::Serve(left - 1);
        let is_locked = self.works[work].kind == Kind::Locked;
        if !is_locked && self.works[work].parts.len() == 1 && self.works[work].parts[0].0 == shard {
            let timestamp = at.journal.clock.local();
            return self.arrive(shard, work, timestamp, 0);
        }
        at.post = Some(Post { work, is_release: false, sequence: 0, next: 0 });
    }

    /// Does one step of posting a unit: takes the sequencer, or posts one part.
    fn post(&mut self, shard: usize) {
        let Some(Post { work, is_release, mut sequence, mut next }) =
            self.shards[shard].post.take()
        else {
            return;
        };
        let parts = &self.works[work].parts;
        if parts.len() > 1 && sequence == 0 {
            if !self.is_sequencer_held {
                self.is_sequencer_held = true;
                sequence = self.posted + 1;
            }
        } else {
            let timestamp = self.shards[shard].journal.clock.sending();
            let owner = parts[next].0;
            self.shards[owner].inbox.push_back(Message { work, is_release, timestamp, sequence });
            next += 1;
        }
        if next < parts.len() {
            self.shards[shard].post = Some(Post { work, is_release, sequence, next });
        } else if sequence > 0 {
            self.posted = sequence;
            self.is_sequencer_held = false;
        }
    }

    fn merge(&mut self) -> Progress {
        let Sim { shards, lanes, merger, output, .. } = self;
        let (now, is_blind) = (timestamp_at(self.now_ns), self.fault == Fault::PromisedBlindly);
        let promise = |shard: usize| {
            let is_empty = is_blind || shards[shard].inbox.is_empty();
            is_empty.then(|| lanes[shard].promise(now)).flatten()
        };
        let bytes_max = if self.rng.below(4) == 0 { 10 } else { u64::MAX >> 1 };
        merger.run(lanes, &promise, output, bytes_max, None)
    }

    fn run_all(&mut self, works: usize) {
        let is_busy = |sim: &Sim| sim.clients.iter().any(|(_, is_busy)| *is_busy);
        let mut steps = 0;
        while self.works.len() < works || is_busy(self) {
            steps += 1;
            assert!(steps < 1_000_000, "all units finish");
            if self.works.len() < works && self.chance(30) {
                self.send();
            }
            let shard = self.rng.below(self.shards.len() as u64) as usize;
            // Several steps in a row make other shards fall behind.
            for _ in 0..1 + self.rng.below(4) {
                self.step(shard);
            }
            if self.chance(20) {
                self.merge();
            }
        }
        for _ in 0..1_000 {
            for shard in 0..self.shards.len() {
                self.step(shard);
            }
            if self.shards.iter().all(|shard| shard.phase == Phase::Parked) {
                break;
            }
        }
        self.now_ns += 1;
    }

    /// Returns the offset of each unit's first command in the stream. Checks that each unit is
    /// complete.
    fn read(&self) -> Result<BTreeMap<usize, u64>, String> {
        let mut found = BTreeMap::new();
        let mut marks = self.output.marks.iter().peekable();
        let (mut db, mut is_open) = (None, false);
        let mut unit: Vec<(u64, Vec<String>)> = Vec::new();
        for (offset, args) in commands(&self.output) {
            if let Some(mark) = marks.next_if(|mark| mark.offset <= offset) {
                ensure(mark.offset == offset && unit.is_empty(), "a mark is between units")?;
                db = None;
                marks.by_ref().take_while(|more| more.offset == offset).for_each(drop);
            }
            match args[0].as_str() {
                "SELECT" => db = Some(args[1].parse::<u16>().expect("a number")),
                "MULTI" => is_open = true,
                "EXEC" => is_open = false,
                _ => unit.push((offset, args)),
            }
            if is_open || unit.is_empty() {
                continue;
            }
            let mut parts: Vec<(usize, usize)> = Vec::new();
            for arg in unit.iter().flat_map(|(_, args)| &args[1..]) {
                let (work, shard) = arg[1..].split_once('.').expect("a unit and a shard");
                parts.push((work.parse().expect("a number"), shard.parse().expect("a number")));
            }
            let work = parts[0].0;
            let wanted = &self.works[work];
            let propagating = wanted.parts.iter().filter(|(_, propagates)| *propagates);
            let all: Vec<_> = propagating.map(|(shard, _)| (work, *shard)).collect();
            ensure(parts == all, "a unit is complete")?;
            let is_joined = wanted.kind == Kind::Joined;
            ensure(
                unit.len() == if is_joined { 1 } else { all.len() },
                "parts are joined, or form a transaction",
            )?;
            ensure(db == Some(wanted.db), "the database is selected")?;
            ensure(found.insert(work, unit[0].0).is_none(), "a unit is in the stream once")?;
            unit.clear();
        }
        Ok(found)
    }

    fn check(&mut self) -> Result<(), String> {
        let progress = (0..1_000).map(|_| self.merge()).find(|p| *p != Progress::Behind);
        ensure(progress == Some(Progress::Drained), "everything is in the stream in the end")?;
        ensure(self.lanes.iter().all(|lane| lane.bytes() == 0), "nothing is left in a lane")?;
        let found = self.read()?;
        let propagates = |work: &Work| work.parts.iter().any(|(_, propagates)| *propagates);
        let propagating = self.works.iter().filter(|work| propagates(work)).count();
        ensure(found.len() == propagating, "no unit is lost")?;
        for (at, work) in self.works.iter().enumerate() {
            let Some(own) = found.get(&at) else { continue };
            let mut ran = work.follows.iter().filter_map(|seen| found.get(seen));
            ensure(ran.all(|seen| seen < own), "a shard's order is kept")?;
            let mut seen = work.after.iter().filter_map(|seen| found.get(seen));
            ensure(seen.all(|seen| seen < own), "units that were seen come before")?;
        }
        self.check_marks(&found)
    }

    fn check_marks(&self, found: &BTreeMap<usize, u64>) -> Result<(), String> {
        let is_mark = |work: &&Work| matches!(work.kind, Kind::Mark | Kind::Cut);
        let marks = self.works.iter().filter(is_mark).count();
        ensure(self.output.marks.len() == marks, "every mark is reported once")?;
        for mark in &self.output.marks {
            let id = mark.id as usize;
            for shard in &self.shards {
                let at = shard
                    .came
                    .iter()
                    .position(|work| *work == id)
                    .expect("a mark arrives at every shard");
                let (before, after) = shard.came.split_at(at);
                // A mark waits for nobody: it follows what has run before it.
                let wanted = &self.works[id];
                let counts = |work: &&usize| wanted.kind == Kind::Cut || wanted.seen.contains(work);
                let before = before.iter().filter(counts);
                let mut before = before.filter_map(|work| found.get(work));
                ensure(
                    before.all(|offset| *offset < mark.offset),
                    "earlier units are before a mark",
                )?;
                let mut after = after.iter().filter_map(|work| found.get(work));
                ensure(after.all(|offset| *offset >= mark.offset), "later units are after a mark")?;
            }
        }
        Ok(())
    }
}

fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

/// Returns the stream's commands, each with its offset.
fn commands(output: &Output) -> Vec<(u64, Vec<String>)> {
    let mut from = output.backlog.first_offset();
    let mut text = Vec::new();
    while from < output.backlog.end_offset() {
        let bytes = output.backlog.read(from, 1 << 20).expect("nothing is trimmed");
        from += bytes.len() as u64;
        text.extend_from_slice(&bytes);
    }
    let text = String::from_utf8(text).expect("text");
    let mut commands = Vec::new();
    let mut lines = text.split("\r\n");
    let mut offset = output.backlog.first_offset();
    while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
        let start = offset;
        offset += count.len() as u64 + 3;
        let mut args = Vec::new();
        for _ in 0..count.parse::<usize>().expect("a number") {
            let len = lines.next().expect("a length");
            let arg = lines.next().expect("an argument").to_string();
            assert_eq!(len, format!("${}", arg.len()));
            offset += (len.len() + arg.len()) as u64 + 4;
            args.push(arg);
        }
        commands.push((start, args));
    }
    assert_eq!(offset, output.backlog.end_offset(), "the stream consists of complete commands");
    commands
}

fn simulate(seed: u64, fault: Fault) -> Result<(), String> {
    let mut sim = Sim::new(seed, fault);
    sim.run_all(100);
    sim.check()
}

#[test]
fn the_stream_order_agrees_with_what_clients_saw() {
    for seed in 0..800 {
        let result = simulate(seed, Fault::None);
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}

#[test]
fn each_rule_is_needed() {
    let does_no_harm = |fault: &Fault| (0..3_000).all(|seed| simulate(seed, *fault).is_ok());
    let harmless: Vec<_> = FAULTS.into_iter().filter(does_no_harm).collect();
    assert_eq!(harmless, []);
}

/// Builds the content of one part from fields and texts of its commands.
fn content(records: &[(u32, u16, Glue, &str)]) -> Content {
    let mut content = Content::default();
    for (at, db, glue, text) in records {
        let args: Vec<_> = text.split(' ').map(|w| format!("${}\r\n{w}\r\n", w.len())).collect();
        let bytes = args.concat();
        content.commands.push(Command {
            at: *at,
            db: *db,
            glue: *glue,
            args: args.len() as u32,
            head_len: args[0].len() as u32,
            len: bytes.len(),
        });
        content.bytes.extend_from_slice(bytes.as_bytes());
    }
    content
}

fn share(content: &Content) -> Part<'_> {
    Part { commands: &content.commands, bytes: &content.bytes }
}

/// Returns the stream's commands after these units, each as one line.
fn stream_of(units: &[(bool, &[Content])]) -> Vec<String> {
    let mut output = Output::new(0);
    for (is_transaction, contents) in units {
        let parts: Vec<_> = contents.iter().map(share).collect();
        assert!(output.begin_unit(&parts, *is_transaction, usize::MAX));
    }
    commands(&output).iter().map(|(_, args)| args.join(" ")).collect()
}

#[test]
fn the_bytes_are_as_valkey_writes_them() {
    let one = content(&[(0, 11, Glue::Alone, "set k v")]);
    let mut output = Output::new(0);
    assert!(output.begin_unit(&[Part { commands: &one.commands, bytes: &one.bytes }], true, 999));
    output.encoder.command(&[b"PING"], &mut output.backlog);
    let wanted = "*2\r\n$6\r\nSELECT\r\n$2\r\n11\r\n\
                  *3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(output.backlog.read(0, 1_000).expect("the bytes are in the backlog"), wanted);
}

#[test]
fn a_void_unit_is_dropped_with_all_its_parts() {
    use Glue::{Alone, Void};
    let whole = content(&[(0, 0, Alone, "set a 1")]);
    let ended = content(&[(1, 0, Alone, "set b 1"), (1, 0, Void, "x")]);
    let other = content(&[(0, 0, Alone, "set c 1")]);
    assert_eq!(stream_of(&[(true, &[whole, ended]), (false, &[other])]), ["SELECT 0", "set c 1"]);
}

#[test]
fn select_and_multi_are_written_only_where_needed() {
    use Glue::Alone;
    let batch = content(&[
        (0, 0, Alone, "SET a 1"),
        (1, 0, Alone, "DEL old"),
        (1, 0, Alone, "SET b 1"),
        (2, 3, Alone, "SET c 1"),
    ]);
    let transaction = content(&[(0, 3, Alone, "SET d 1"), (1, 1, Alone, "SET e 1")]);
    let lines = stream_of(&[(false, &[batch]), (true, &[transaction])]);
    let wanted = "SELECT 0,SET a 1,MULTI,DEL old,SET b 1,EXEC,SELECT 3,SET c 1,\
                  MULTI,SET d 1,SELECT 1,SET e 1,EXEC";
    assert_eq!(lines.join(","), wanted);
}

#[test]
fn parts_are_merged_command_by_command() {
    use Glue::{Alone, Joined, Once};
    let first = content(&[
        (0, 0, Joined, "MSET a 1"),
        (1, 0, Alone, "DEL old"),
        (1, 0, Joined, "UNLINK a b"),
        (3, 0, Once, "FLUSHALL"),
        (5, 0, Joined, "X 1"),
        (5, 0, Joined, "Y 1"),
    ]);
    let second = content(&[
        (0, 0, Joined, "MSET c 2 d 3"),
        (1, 0, Joined, "UNLINK c"),
        (2, 0, Alone, "INCR n"),
        (3, 0, Once, "FLUSHALL"),
        (5, 0, Joined, "Y 2"),
    ]);
    let third = content(&[(3, 0, Once, "FLUSHALL")]);
    let lines = stream_of(&[(false, &[first, second, Content::default(), third])]);
    let wanted = "SELECT 0,MSET a 1 c 2 d 3,MULTI,DEL old,UNLINK a b c,EXEC,INCR n,FLUSHALL,\
                  MULTI,X 1,Y 1 2,EXEC";
    assert_eq!(lines.join(","), wanted);
}

#[test]
fn unblocked_commands_follow_the_command_that_unblocked_them() {
    use Glue::{Alone, Joined, Once, Woken};
    let first = content(&[
        (0, 0, Alone, "RPUSH k a b"),
        (0, 0, Woken(0), "LPOP k"),
        (0, 0, Woken(1), "DEL old"),
        (0, 0, Woken(1), "LPOP k"),
        (1, 0, Once, "SWAPDB 0 1"),
        (1, 0, Woken(0), "LPOP l"),
        (2, 0, Joined, "MSET a 1"),
    ]);
    let second = content(&[
        (1, 0, Once, "SWAPDB 0 1"),
        (1, 1, Woken(0), "LPOP m"),
        (2, 0, Joined, "MSET b 1"),
    ]);
    let lines = stream_of(&[(false, &[first, second])]);
    let wanted = "SELECT 0,RPUSH k a b,LPOP k,MULTI,DEL old,LPOP k,EXEC,SWAPDB 0 1,LPOP l,\
                  SELECT 1,LPOP m,SELECT 0,MSET a 1 b 1";
    assert_eq!(lines.join(","), wanted);
}

#[test]
fn removals_of_expired_keys_on_other_shards_precede_the_command() {
    use Glue::{Alone, Apart};
    let target = content(&[(0, 0, Alone, "SET k 1"), (1, 0, Alone, "BITOP NOT to from")]);
    let source = content(&[(1, 0, Apart, "UNLINK from"), (2, 0, Alone, "SET from 1")]);
    let lines = stream_of(&[(true, &[target, source])]);
    let wanted = "MULTI,SELECT 0,SET k 1,UNLINK from,BITOP NOT to from,SET from 1,EXEC";
    assert_eq!(lines.join(","), wanted);
}

#[test]
fn threads_share_one_feed() {
    const SHARDS: usize = 3;
    const UNITS: u64 = 2_000;
    let mesh = Mesh::new(SHARDS, Rules::default(), None);
    let feed = Feed::new(mesh, Clock::System, 0);
    feed.set_on(true);
    std::thread::scope(|scope| {
        for shard in 0..SHARDS {
            let feed = &feed;
            scope.spawn(move || {
                let (mut journal, mut records) = (Journal::default(), Records::default());
                journal.set_on(true);
                for unit in 0..UNITS {
                    feed.wake(shard, &mut journal);
                    journal.clock.begin_turn(Clock::System.monotonic_ns());
                    journal.clock.drained();
                    records.add(0, shard, &[b"SET", unit.to_string().as_bytes()]);
                    let timestamp = journal.clock.local();
                    journal.append(timestamp, Unit::Single { is_transaction: true }, &mut records);
                    feed.publish(shard, &mut journal);
                    feed.park(shard, &mut journal);
                }
            });
        }
    });
    // The last shard to park found all others parked, and has merged what they left.
    let (next, _) = feed.with_stream(|stream| {
        let mut output = Output::new(0);
        let backlog = stream.backlog();
        while let Some(bytes) = backlog.read(output.backlog.end_offset(), 1 << 20)
            && !bytes.is_empty()
        {
            output.backlog.append(&bytes);
        }
        let (mut next, mut db) = ([0; SHARDS], 0);
        for (_, args) in commands(&output) {
            let number: u64 = args[1].parse().expect("a number");
            if args[0] == "SELECT" {
                db = number as usize;
            } else {
                assert_eq!(number, next[db], "the order of each shard is kept");
                next[db] += 1;
            }
        }
        next
    });
    assert_eq!(next, [UNITS; SHARDS]);
    assert!(feed.end_offset() > 0 && !feed.has_marks());
}

#[test]
fn a_large_unit_is_written_in_steps_and_nothing_comes_between() {
    const COMMANDS: usize = 10_000;
    let feed = Feed::new(Mesh::new(1, Rules::default(), None), Clock::System, 0);
    feed.set_on(true);
    let (mut journal, mut records) = (Journal::default(), Records::default());
    journal.set_on(true);
    journal.clock.begin_turn(1);
    (0..COMMANDS).for_each(|at| records.add(at as u32, 0, &[b"SET", b"k", &[b'x'; 200]]));
    let timestamp = journal.clock.local();
    journal.append(timestamp, Unit::Single { is_transaction: true }, &mut records);
    assert!(feed.publish(0, &mut journal).is_behind, "the unit takes several steps");
    let (len, _) = feed.with_stream(|stream| {
        stream.inject(&[b"PING"]);
        stream.backlog().len()
    });
    assert!(len < 2 * MERGE_BYTES_MAX, "a step is bounded: {len}");
    while feed.publish(0, &mut journal).is_behind {}
    let (output, _) = feed.with_stream(|stream| {
        let mut output = Output::new(0);
        while output.backlog.end_offset() < stream.backlog().end_offset() {
            let bytes = stream.backlog().read(output.backlog.end_offset(), 1 << 20);
            output.backlog.append(&bytes.expect("nothing is trimmed"));
        }
        output
    });
    let lines: Vec<String> = commands(&output).iter().map(|(_, args)| args[0].clone()).collect();
    assert_eq!(lines.len(), COMMANDS + 4);
    assert_eq!([&lines[0], &lines[1], &lines[2]], ["MULTI", "SELECT", "SET"]);
    assert_eq!([&lines[COMMANDS + 2], &lines[COMMANDS + 3]], ["EXEC", "PING"]);
}

/// The file is turned off and on while a rewrite is under way whose mark comes between.
#[test]
fn a_file_that_begins_again_forgets_the_mark_of_an_earlier_rewrite() {
    const MARK: u64 = 7;
    let feed = Feed::new(Mesh::new(1, Rules::default(), None), Clock::System, 0);
    feed.set_on(true);
    let (mut journal, mut records) = (Journal::default(), Records::default());
    journal.set_on(true);
    let mut turn = |unit: Unit, has_command: bool| {
        feed.wake(0, &mut journal);
        journal.clock.begin_turn(Clock::System.monotonic_ns());
        journal.clock.drained();
        if has_command {
            records.add(0, 0, &[b"SET", b"key", b"value"]);
        }
        let timestamp = journal.clock.local();
        journal.append(timestamp, unit, &mut records);
        feed.publish(0, &mut journal);
        feed.park(0, &mut journal);
    };
    let single = || Unit::Single { is_transaction: false };
    feed.begin_disk();
    feed.end_disk();
    feed.await_cut(MARK);
    turn(single(), true);
    turn(Unit::Mark { sequence: 1, parts: 1, id: MARK }, false);
    turn(single(), true);
    let offset = feed.begin_disk();
    turn(single(), true);
    let (pulled, _) = feed.pull(offset, 1 << 20);
    let bytes: usize = pulled.pieces.iter().map(|piece| piece.len()).sum();
    assert_eq!(offset + bytes as u64, feed.end_offset());
    assert!(bytes > 0 && !pulled.is_cut);
}
