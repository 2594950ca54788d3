//! The protocol of `src/mesh/hold.rs` under a model checker: a shard that parks and wakes up, and
//! others that post to it and borrow its partition, in every order of their steps and with every
//! value that the memory model lets a load return.
//!
//! ```text
//!   home:    hold, drain, park, look, wait for the bell, hold or ask       until all is run
//!            or: rest, look, hold or ask
//!   poster:  push, free? -> hold, drain, let go, look again    or ring
//! ```
//! Proven, up to [`PREEMPTIONS_MAX`] preemptions: there is never more than one holder, each holder
//! sees what the one before it wrote, every message is run, and a shard that asks for its partition
//! is given it. A message that is left lying, or a bell that is not rung, shows as a deadlock: in
//! the model no tick wakes a shard up.
//!
//! What the checker does not do: it takes an access that is sequentially consistent for one that
//! acquires and releases, which is weaker. Fences it models in full. It does not know the real
//! queue: the inbox here is a counter, which orders no more than the queue does.

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

#[path = "../src/mesh/hold.rs"]
mod hold;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
}

use hold::Hold;

/// Preemptions in one order of steps at most, with one other shard and with two: threads change
/// besides wherever one has to wait. `ANNULET_LOOM_PREEMPTIONS` sets another number.
const PREEMPTIONS_MAX: [usize; 2] = [4, 2];

/// The holder when there is none.
const NOBODY: u32 = 0;
/// The shard whose partition it is.
const HOME: u32 = 1;

/// The rules that a canary breaks.
#[derive(Clone, Copy)]
struct Rules {
    /// Looking at the word and taking it are one step.
    takes_at_once: bool,
    /// A borrower looks at the inbox after it has let go.
    looks_again: bool,
    /// A shard looks at the inbox after it has parked.
    looks_when_parked: bool,
    /// A borrower that gives a partition to its shard rings.
    rings_when_given: bool,
    /// Something that does not lie in the inbox rings also while the partition is lent.
    nudges_when_lent: bool,
}

const ALL: Rules = Rules {
    takes_at_once: true,
    looks_again: true,
    looks_when_parked: true,
    rings_when_given: true,
    nudges_when_lent: true,
};

/// What another shard does.
#[derive(Clone, Copy)]
enum Does {
    /// Posts a part, and borrows the partition if it is free.
    Borrow,
    /// Posts a part, and borrows the partition for one message at most.
    BorrowForOne,
    /// Posts a part, and rings if the partition is free.
    Ring,
    /// Posts a message that only the shard itself can deal with, and borrows.
    PostForShard,
    /// Changes something outside of the inbox that the shard looks at when it has parked.
    Nudge,
}

/// An eventfd: it stays rung until somebody waits for it.
struct Bell {
    is_rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    fn wait(&self) {
        let mut is_rung = self.is_rung.lock().unwrap();
        while !*is_rung {
            is_rung = self.heard.wait(is_rung).unwrap();
        }
        *is_rung = false;
    }
}

/// A partition, its inbox, and its shard's bell.
struct World {
    rules: Rules,
    hold: Hold,
    /// Parts in the inbox, and messages for the shard itself.
    parts: AtomicU32,
    for_shard: AtomicU32,
    /// What was changed outside of the inbox.
    news: AtomicU32,
    bell: Bell,
    /// The partition: who has it, parts that have run, messages kept for the shard. Nothing but
    /// the hold word orders the accesses.
    holder: AtomicU32,
    run: AtomicU32,
    kept: AtomicU32,
    /// Parts that are to run in all.
    total: u32,
    /// Changes outside of the inbox that its shard has to see.
    news_total: u32,
}

/// Changes a counter that only the holder of the partition touches.
fn change(counter: &AtomicU32, by: i32) -> u32 {
    let after = counter
        .load(Ordering::Relaxed)
        .checked_add_signed(by)
        .expect("the model counts within its type");
    counter.store(after, Ordering::Relaxed);
    after
}

/// Takes one out of a part of the inbox. Only the holder of the partition does.
fn pop(inbox: &AtomicU32) -> bool {
    let has_any = inbox.load(Ordering::Acquire) > 0;
    has_any && inbox.fetch_sub(1, Ordering::AcqRel) > 0
}

impl World {
    fn new(rules: Rules, posters: &[Does]) -> World {
        let nudges = posters.iter().filter(|does| matches!(does, Does::Nudge)).count();
        World {
            rules,
            hold: Hold::new(),
            parts: AtomicU32::new(0),
            for_shard: AtomicU32::new(0),
            news: AtomicU32::new(0),
            bell: Bell { is_rung: Mutex::new(false), heard: Condvar::new() },
            holder: AtomicU32::new(HOME),
            run: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            total: (posters.len() - nudges) as u32,
            news_total: nudges as u32,
        }
    }

    fn is_inbox_empty(&self) -> bool {
        self.parts.load(Ordering::Acquire) + self.for_shard.load(Ordering::Acquire) == 0
    }

    /// Says who has the partition from now on, and checks who had it.
    fn pass(&self, from: u32, to: u32) {
        assert_eq!(self.holder.swap(to, Ordering::Relaxed), from, "there is one holder");
    }

    fn try_hold(&self, me: u32) -> bool {
        let is_taken = match self.rules.takes_at_once {
            true => self.hold.try_hold(),
            // A look at the word, and a store of what is there already if somebody was faster.
            false => {
                let is_free = self.hold.is_free_after_push();
                if is_free {
                    self.hold.try_hold();
                }
                is_free
            }
        };
        if is_taken {
            self.pass(NOBODY, me);
        }
        is_taken
    }

    /// A part has run. After the last one the shard is told to end, unless it waits for news.
    fn run_part(&self) {
        if change(&self.run, 1) == self.total && self.news_total == 0 {
            self.bell.ring();
        }
    }

    /// Runs what is kept for the shard, and its inbox.
    fn drain(&self) {
        while self.kept.load(Ordering::Relaxed) > 0 {
            change(&self.kept, -1);
            self.run_part();
        }
        while pop(&self.parts) || pop(&self.for_shard) {
            self.run_part();
        }
    }

    /// Its own shard, from the start until all parts have run or all news are seen. `ticks` times
    /// it wakes up without a bell, and `rests` times it rests before it parks. It ends with the
    /// partition in its hands.
    fn home(&self, mut ticks: u32, mut rests: u32) {
        let mut seen = 0;
        loop {
            self.drain();
            let is_over = if self.news_total > 0 {
                seen = self.news.load(Ordering::Acquire);
                seen == self.news_total
            } else {
                self.run.load(Ordering::Relaxed) == self.total
            };
            if is_over {
                return;
            }
            self.pass(HOME, NOBODY);
            if rests > 0 {
                rests -= 1;
                self.rest();
                continue;
            }
            self.hold.park();
            if self.rules.looks_when_parked && !self.is_inbox_empty() && self.hold.try_hold() {
                self.pass(NOBODY, HOME);
                self.hold.unpark();
                continue;
            }
            let has_news = self.news_total > 0 && self.news.load(Ordering::Acquire) != seen;
            if ticks > 0 || has_news {
                ticks = ticks.saturating_sub(1);
            } else {
                self.bell.wait();
            }
            while !self.hold.hold_or_ask() {
                if ticks > 0 {
                    ticks -= 1;
                } else {
                    self.bell.wait();
                }
            }
            self.pass(NOBODY, HOME);
            self.hold.unpark();
        }
    }

    /// Lets the partition go, and takes it back after a look at the inbox.
    fn rest(&self) {
        self.hold.rest();
        if self.is_inbox_empty() || !self.hold.try_hold() {
            while !self.hold.hold_or_ask() {
                self.bell.wait();
            }
        }
        self.pass(NOBODY, HOME);
    }

    fn poster(&self, me: u32, does: Does) {
        match does {
            Does::Nudge => {
                self.news.fetch_add(1, Ordering::AcqRel);
                let is_looked_for = self.rules.nudges_when_lent || self.hold.is_free_after_push();
                return self.wake_if(is_looked_for);
            }
            Does::PostForShard => self.for_shard.fetch_add(1, Ordering::AcqRel),
            _ => self.parts.fetch_add(1, Ordering::AcqRel),
        };
        let is_free = self.hold.is_free_after_push();
        let borrows = !matches!(does, Does::Ring);
        if is_free && borrows && self.try_hold(me) {
            return self.borrow(me, matches!(does, Does::BorrowForOne));
        }
        self.wake_if(is_free && self.hold.is_free_after_push());
    }

    fn borrow(&self, me: u32, is_for_one: bool) {
        let mut has_left = false;
        while pop(&self.parts) {
            self.run_part();
            if is_for_one {
                break;
            }
        }
        while pop(&self.for_shard) {
            change(&self.kept, 1);
            has_left = true;
        }
        has_left |= self.kept.load(Ordering::Relaxed) > 0;
        self.pass(me, NOBODY);
        if self.hold.let_go() {
            if self.rules.rings_when_given {
                self.bell.ring();
            }
            return;
        }
        self.wake_if(has_left || self.rules.looks_again && !self.is_inbox_empty());
    }

    fn wake_if(&self, is_needed: bool) {
        if is_needed && self.hold.take_parked() {
            self.bell.ring();
        }
    }
}

/// Tries all orders of the steps of a shard and of others.
fn check(rules: Rules, ticks: u32, posters: &'static [Does]) {
    check_with(rules, (ticks, 0), posters);
}

/// Tries all orders of the steps of a shard, which may wake up without a bell and rest a number of
/// times, and of others.
fn check_with(rules: Rules, (ticks, rests): (u32, u32), posters: &'static [Does]) {
    let mut builder = loom::model::Builder::new();
    let asked = std::env::var("ANNULET_LOOM_PREEMPTIONS").ok();
    let asked = asked.map(|text| text.parse().expect("it is a number"));
    builder.preemption_bound = Some(asked.unwrap_or(PREEMPTIONS_MAX[posters.len() - 1]));
    builder.check(move || {
        let world = Arc::new(World::new(rules, posters));
        let others: Vec<_> = (HOME + 1..)
            .zip(posters)
            .map(|(me, does)| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.poster(me, *does))
            })
            .collect();
        world.home(ticks, rests);
        others.into_iter().for_each(|other| other.join().unwrap());
        world.drain();
        assert_eq!(world.run.load(Ordering::Relaxed), world.total, "every part has run once");
        assert_eq!(world.holder.load(Ordering::Relaxed), HOME, "the shard has its partition");
    });
}

#[test]
fn one_borrower_and_its_shard() {
    check(ALL, 0, &[Does::Borrow]);
    check(ALL, 1, &[Does::Borrow]);
    check(ALL, 2, &[Does::Borrow]);
}

#[test]
fn two_borrowers() {
    check(ALL, 0, &[Does::Borrow, Does::Borrow]);
}

#[test]
fn two_borrowers_and_a_tick() {
    check(ALL, 1, &[Does::Borrow, Does::Borrow]);
}

#[test]
fn a_borrower_that_stops_early() {
    check(ALL, 0, &[Does::BorrowForOne, Does::Borrow]);
    check(ALL, 0, &[Does::BorrowForOne, Does::Ring]);
}

#[test]
fn a_message_that_only_the_shard_can_deal_with() {
    check(ALL, 0, &[Does::PostForShard, Does::Borrow]);
}

#[test]
fn something_outside_of_the_inbox() {
    check(ALL, 0, &[Does::Nudge, Does::Borrow]);
}

#[test]
fn a_shard_that_rests() {
    check_with(ALL, (0, 1), &[Does::Borrow]);
    check_with(ALL, (0, 2), &[Does::Ring]);
    check_with(ALL, (1, 1), &[Does::PostForShard]);
    check_with(ALL, (0, 1), &[Does::Borrow, Does::Borrow]);
    check_with(ALL, (0, 1), &[Does::PostForShard, Does::Borrow]);
    check_with(ALL, (0, 1), &[Does::Nudge, Does::Borrow]);
}

#[test]
#[should_panic(expected = "there is one holder")]
fn canary_taking_in_two_steps() {
    check(Rules { takes_at_once: false, ..ALL }, 0, &[Does::Borrow, Does::Borrow]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn canary_not_looking_again() {
    check(Rules { looks_again: false, ..ALL }, 0, &[Does::Borrow, Does::Borrow]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn canary_parking_without_a_look() {
    check(Rules { looks_when_parked: false, ..ALL }, 0, &[Does::Borrow]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn canary_giving_without_a_bell() {
    check(Rules { rings_when_given: false, ..ALL }, 1, &[Does::Borrow]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn canary_nudging_only_when_free() {
    check(Rules { nudges_when_lent: false, ..ALL }, 0, &[Does::Nudge, Does::Borrow]);
}
