//! The owner's side of locks: parts that have to wait, and the rounds of transactions.
//!
//! ```text
//!   arrives --nothing in its way--> runs --answer
//!      |
//!      '--behind a claim--> waits --granted--> runs --answer
//! ```
//! What waits is a claim itself, so what comes later and touches the same waits behind it, and the
//! order of arrival is kept. Bounded by credits: what waits has not been answered.

use super::Shard;
use super::journal::Place;
use crate::exec::{Intent, Item, Mode, Request, Scope, Visit, Words, for_each_intent};
use crate::keyspace::{ExpiryRole, Slice};
use crate::mesh::{Envelope, Moment, Stage, Work};
use std::collections::VecDeque;

impl Shard {
    /// What an envelope that is sent now carries.
    pub(super) fn moment(&self) -> Moment {
        Moment { stamp: self.journal.clock.sending(), unix_us: self.now.unix_us }
    }

    /// A part has come out of the inbox.
    pub(super) fn arrive(&mut self, mut part: Box<Envelope>) {
        let stamp = self.journal.clock.arrived(part.sent.stamp);
        let stage = part.hold.as_ref().map_or(Stage::Only, |hold| hold.stage);
        if let Work::Ask(Request::Snapshot(id)) = part.work {
            self.begin_feed(stamp, &part, id);
        }
        match stage {
            Stage::Only if self.intents.is_empty() => self.work(part, Place::Now(stamp)),
            Stage::Only => {
                let intents = self.intents_of(&mut part);
                if self.intents.conflicts(intents.iter().copied()) {
                    let (claim, is_granted) = self.intents.claim(&intents);
                    assert!(!is_granted, "it conflicts");
                    self.reserve(claim, stamp, &part);
                    self.waiting.insert(claim, part);
                } else {
                    self.work(part, Place::Now(stamp));
                }
            }
            Stage::Open => {
                let hold = part.hold.as_mut().expect("it has a stage");
                let mut intents = std::mem::take(&mut hold.intents);
                collect_watched(&self.slice, hold.watcher, &mut intents);
                let (claim, is_granted) = self.intents.claim(&intents);
                hold.claim = claim;
                self.reserve(claim, stamp, &part);
                if is_granted {
                    self.work(part, Place::Reserved(claim));
                } else {
                    self.waiting.insert(claim, part);
                }
            }
            Stage::More | Stage::Close => {
                let claim = part.hold.as_ref().expect("it has a stage").claim;
                self.work(part, Place::Reserved(claim));
            }
        }
    }

    /// What a part means to touch.
    fn intents_of(&self, part: &mut Envelope) -> Vec<Intent> {
        if matches!(part.work, Work::Ask(_)) {
            return vec![Intent { scope: Scope::All, mode: Mode::Shared }];
        }
        let mut intents = Vec::new();
        let (items, mut words, ..) = part.parts();
        collect_intents(&self.slice, items, &mut words, &mut intents);
        let watcher = part.hold.as_ref().and_then(|hold| hold.watcher);
        collect_watched(&self.slice, watcher, &mut intents);
        intents
    }

    /// Whether commands touch what is claimed, or the keys that a client watches.
    pub(super) fn is_in_the_way(
        &self,
        items: &[Item],
        words: &mut Words<'_>,
        watcher: Option<u64>,
    ) -> bool {
        let mut intents = Vec::new();
        collect_watched(&self.slice, watcher, &mut intents);
        collect_intents(&self.slice, items, words, &mut intents);
        self.intents.conflicts(intents)
    }

    /// Does what a part asks for, under its locks if it has any, and sends it home.
    fn work(&mut self, mut part: Box<Envelope>, place: Place) {
        let mut records = self.records_at(place);
        let Some(mut hold) = part.hold.take() else {
            match std::mem::replace(&mut part.work, Work::Commands) {
                Work::Commands => self.run_commands(&mut part, records.as_mut()),
                Work::Ask(request) => self.answer_ask(&request, &mut part),
            }
            self.write_down(place, &part, records);
            return self.send_home(part);
        };
        if let Some(records) = &mut records {
            records.absorb(&mut hold.records);
        }
        let turn = self.set_time(hold.now_us);
        if let Some(watcher) = hold.watcher.take() {
            hold.is_broken = self.slice.is_watch_broken(watcher);
            self.slice.unwatch(watcher);
        }
        if !hold.is_broken {
            self.store(&mut hold.stores);
            if !part.items.is_empty() {
                self.run_commands(&mut part, records.as_mut());
            }
            for visit in &mut hold.fetches {
                let key = self.slice.key_in_slot(&visit.key, visit.slot);
                visit.parcel = self.slice.export(usize::from(visit.db), &key);
            }
            if let Some(records) = &mut records {
                self.record_expired(records, hold.fetch_at);
            }
        }
        self.set_time(turn);
        let closed = (hold.stage == Stage::Close).then_some(hold.claim);
        let is_done = !hold.stage.has_next();
        part.hold = Some(hold);
        if is_done {
            self.write_down(place, &part, records);
        } else if let (Some(mut records), Some(hold)) = (records, &mut part.hold) {
            hold.records.absorb(&mut records);
            self.keep_records(records);
        }
        self.send_home(part);
        if let Some(claim) = closed {
            self.release(claim);
        }
    }

    /// Lets commands run at this time (Unix microseconds), and gives the time before: all commands
    /// of a transaction run at one.
    pub(super) fn set_time(&mut self, unix_us: u64) -> u64 {
        let before = std::mem::replace(&mut self.now.unix_us, unix_us);
        self.slice.set_now(self.now.unix_ms());
        before
    }

    /// Gives keys the values that a command has left elsewhere.
    fn store(&mut self, stores: &mut Vec<Visit>) {
        if stores.is_empty() {
            return;
        }
        // A value that is due is not expired now, which the feed would tell too late, but replaced.
        let role = self.slice.set_role(ExpiryRole::Loading);
        for visit in stores.drain(..) {
            let key = self.slice.key_in_slot(&visit.key, visit.slot);
            match visit.parcel {
                Some(parcel) => self.slice.import(usize::from(visit.db), &key, parcel),
                None => {
                    self.slice.remove(usize::from(visit.db), &key);
                }
            }
        }
        self.slice.set_role(role);
        self.publish();
    }

    pub(super) fn send_home(&mut self, part: Box<Envelope>) {
        if let Some(own) = self.port.answer(part, self.moment()) {
            self.land(own);
        }
    }

    /// Gives locks back, and runs what waited for them.
    fn release(&mut self, claim: u64) {
        let mut released = VecDeque::from([claim]);
        let mut granted = Vec::new();
        while let Some(claim) = released.pop_front() {
            self.intents.release(claim, &mut granted);
            for claim in granted.drain(..) {
                let part = self.waiting.remove(&claim).expect("a claim that waits has a part");
                let keeps = part.hold.as_ref().is_some_and(|hold| hold.stage == Stage::Open);
                self.work(part, Place::Reserved(claim));
                if !keeps {
                    released.push_back(claim);
                }
            }
        }
    }
}

/// What commands mean to touch on the shard that they have come to.
pub(super) fn collect_intents(
    slice: &Slice,
    items: &[Item],
    words: &mut Words<'_>,
    intents: &mut Vec<Intent>,
) {
    for item in items {
        let args = words.args(item);
        let hash = |word: &[u8]| slice.key(word).hash;
        for_each_intent(item.entry, &args, &hash, &mut |_, intent| intents.push(intent));
    }
}

/// The verdict on watched keys needs them as they are: whoever holds them to write comes first.
fn collect_watched(slice: &Slice, watcher: Option<u64>, intents: &mut Vec<Intent>) {
    let Some(watcher) = watcher else { return };
    intents.extend(
        slice
            .watched_by(watcher)
            .map(|(_, hash)| Intent { scope: Scope::Key { db: 0, hash }, mode: Mode::Shared }),
    );
}
