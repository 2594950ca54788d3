//! Checked histories of random clients. With all rules of the mesh, every history must be possible
//! on a single Redis; without any one of the rules, some must be impossible.
//!
//! `ANNULET_SIM_SEED=n` runs only that seed. `ANNULET_SIM_SEEDS=n` runs the first n seeds, and
//! counts the seeds that show an anomaly without each rule.

use crate::harness::linear::{Focus, simulate};
use annulet::mesh::Rules;
use std::ops::Range;

const BROAD_SEEDS: u64 = 100;
const NARROW_SEEDS: u64 = 50;
/// Seeds after which a rule counts as never needed.
const HUNT_SEEDS_MAX: u64 = 600;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Returns the requested seeds, or the first `usual` ones.
pub fn seeds(usual: u64) -> Range<u64> {
    match number("ANNULET_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ANNULET_SIM_SEEDS").unwrap_or(usual),
    }
}

/// Prints how to repeat a run if the run fails.
pub struct Repeat(pub u64, pub &'static str);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Repeat(seed, module) = self;
            eprintln!("to repeat: ANNULET_SIM_SEED={seed} cargo test --test sim {module}");
        }
    }
}

/// How often partitions were borrowed in the runs of a test.
#[derive(Default)]
pub struct Borrowed {
    runs: u64,
    borrows: u64,
}

impl Borrowed {
    /// One more run.
    pub fn add(&mut self, borrows: u64) {
        self.runs += 1;
        self.borrows += borrows;
    }

    /// Panics if the runs were many and yet borrowed next to nothing.
    pub fn check(&self, what: &str) {
        let Borrowed { runs, borrows } = self;
        println!("{what}: {runs} seeds, {borrows} partitions were borrowed");
        assert!(*runs < 10 || borrows > runs, "{what}: {runs} runs and {borrows} borrows");
    }
}

fn check(seeds: Range<u64>, focus: Focus) {
    let mut borrowed = Borrowed::default();
    for seed in seeds {
        let _repeat = Repeat(seed, "histories");
        let outcome = simulate(seed, Rules::default(), focus);
        borrowed.add(outcome.borrows);
        if let Some(anomaly) = outcome.anomaly {
            panic!("seed {seed}, {focus:?}: no single Redis could have done this:\n{anomaly}");
        }
    }
    borrowed.check(&format!("{focus:?}"));
}

#[test]
fn mixed_histories_are_possible_on_one_redis() {
    check(seeds(BROAD_SEEDS), Focus::Broad);
}

#[test]
fn histories_of_slow_readers_are_possible_on_one_redis() {
    check(seeds(NARROW_SEEDS), Focus::Narrow);
}

#[test]
fn a_seed_repeats() {
    let run = |seed| {
        let outcome = simulate(seed, Rules::default(), Focus::Broad);
        (outcome.fingerprint, outcome.steps, outcome.ops)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

/// Finds the first seed that shows why a rule is needed. Panics if there is none.
pub fn hunted(name: &str, is_seen: impl Fn(u64) -> bool) {
    let seed = (0..HUNT_SEEDS_MAX).find(|seed| is_seen(*seed));
    println!("without {name}: seed {}", seed.expect("some seed shows that the rule is needed"));
}

/// Searches for an anomaly without a rule; over all seeds, if ANNULET_SIM_SEEDS is set.
fn hunt(name: &str, rules: Rules, focus: Focus) {
    let asked = number("ANNULET_SIM_SEEDS");
    let mut found = Vec::new();
    let mut example = None;
    for seed in 0..asked.unwrap_or(HUNT_SEEDS_MAX) {
        let Some(anomaly) = simulate(seed, rules, focus).anomaly else { continue };
        found.push(seed);
        example.get_or_insert(anomaly);
        if asked.is_none() {
            break;
        }
    }
    println!("without {name}: {} of {asked:?} seeds, {focus:?}: {found:?}", found.len());
    println!("{}", example.expect("some seed shows that the rule is needed"));
}

#[test]
fn without_one_in_flight_there_are_anomalies() {
    let rules = Rules { one_in_flight: false, ..Rules::default() };
    hunt("one_in_flight", rules, Focus::Broad);
}

#[test]
fn without_the_sequencer_there_are_anomalies() {
    let rules = Rules { sequencer: false, ..Rules::default() };
    hunt("sequencer", rules, Focus::Broad);
}

#[test]
fn without_runnable_when_posted_there_are_anomalies() {
    let rules = Rules { runnable_when_posted: false, ..Rules::default() };
    hunt("runnable_when_posted", rules, Focus::Narrow);
}

#[test]
fn without_drain_first_there_are_anomalies() {
    let rules = Rules { drain_first: false, ..Rules::default() };
    hunt("drain_first", rules, Focus::Narrow);
}

#[test]
fn without_whole_inbox_there_are_anomalies() {
    let rules = Rules { whole_inbox: false, ..Rules::default() };
    hunt("whole_inbox", rules, Focus::Broad);
}

#[test]
fn without_own_inbox_first_there_are_anomalies() {
    let rules = Rules { own_inbox_first: false, ..Rules::default() };
    hunt("own_inbox_first", rules, Focus::Broad);
}

/// Nothing is wrong without that look, but something is stuck.
#[test]
fn without_look_again_a_message_is_left_lying() {
    let rules = Rules { look_again: false, ..Rules::default() };
    hunted("look_again", |seed| {
        let run = std::panic::catch_unwind(|| simulate(seed, rules, Focus::Broad));
        let Err(panic) = run else { return false };
        let text = panic.downcast_ref::<String>().expect("it says what is wrong");
        assert!(text.starts_with("stuck"), "{text}");
        true
    });
}
