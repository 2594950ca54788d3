//! Durations of traced requests by stage, on one shard: one set of histograms per command.
//!
//! ```text
//!   received     gathered                       ran               handed over         sent
//!      |--- parse ---|- - - - - - execute - - - - |- - - - - - - - - - |----- send -----|
//!                    |--inbox--|         |--inbox--|
//!                    '------------- batch: the rest of this time ------'
//! ```
//! Each stage is recorded where it happens. The shard that owns the inbox and runs the command
//! records `inbox` and `execute`; the client's home shard records the others.

use super::buckets::Buckets;
use super::counter::Counter;
use hdrhistogram::Histogram;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A stage of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// From the last bytes of its connection to the batch that the request joins.
    Parse,
    /// In the inbox of a shard: once on the way there, once on the way back.
    Inbox,
    /// The command runs.
    Execute,
    /// The rest between `Parse` and `Send`: behind other commands of its batch, for other parts,
    /// for transactions, and until the turn's sends.
    Batch,
    /// From the turn's sends until the kernel has the reply.
    Send,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Stage; 5] =
        [Stage::Parse, Stage::Inbox, Stage::Execute, Stage::Batch, Stage::Send];

    /// Returns the stage's name as clients see it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Parse => "parse",
            Stage::Inbox => "inbox",
            Stage::Execute => "execute",
            Stage::Batch => "batch",
            Stage::Send => "send",
        }
    }
}

/// Longer durations count as this, in nanoseconds.
pub const STAGE_NS_MAX: u64 = 10_000_000_000;

/// Significant decimal digits of a histogram.
const STAGE_DIGITS: u8 = 1;

/// Number of duration classes: class `n` holds durations below `256 << n` nanoseconds, the last
/// class all others.
pub const STAGE_CLASSES: usize = 24;

/// Number of durations by stage and class.
pub type StageClasses = [[u64; STAGE_CLASSES]; Stage::ALL.len()];

/// The classes of a histogram with [`STAGE_DIGITS`] up to [`STAGE_NS_MAX`].
type Durations = Buckets<5, 16>;

const _: () = assert!(STAGE_NS_MAX <= Durations::VALUE_MAX);

/// The durations of one command by stage.
type ByStage = [Durations; Stage::ALL.len()];

/// One shard's histograms by the command's index, created when a request of the command is traced.
#[derive(Debug)]
pub struct Stages {
    by_command: Mutex<Vec<Option<Box<ByStage>>>>,
    classes: [[Counter; STAGE_CLASSES]; Stage::ALL.len()],
}

/// Creates an empty histogram of a stage.
pub fn stage_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, STAGE_NS_MAX, STAGE_DIGITS).expect("the bounds are valid")
}

/// Returns the exclusive upper bound of a class, in nanoseconds; the last class also has longer
/// ones.
pub fn stage_class_bound_ns(class: usize) -> u64 {
    assert!(class < STAGE_CLASSES);
    256 << class
}

/// Returns the class of a duration.
fn class_of(ns: u64) -> usize {
    let bits = (u64::BITS - (ns >> 8).leading_zeros()) as usize;
    bits.min(STAGE_CLASSES - 1)
}

impl Stages {
    /// Creates an empty record for this number of commands.
    pub(super) fn new(commands: usize) -> Stages {
        let by_command = Mutex::new((0..commands).map(|_| None).collect());
        Stages { by_command, classes: Default::default() }
    }

    /// Records one duration. Only the owner may call it.
    pub fn record(&self, command: usize, stage: Stage, ns: u64) {
        let ns = ns.clamp(1, STAGE_NS_MAX);
        self.classes[stage as usize][class_of(ns)].add(1);
        let mut by_command = self.lock();
        let stages = by_command[command].get_or_insert_with(Box::default);
        stages[stage as usize].add(ns, 1);
    }

    /// Returns the number of durations by stage and class since the start.
    pub fn classes(&self) -> StageClasses {
        self.classes.each_ref().map(|stage| stage.each_ref().map(Counter::get))
    }

    /// Adds the histograms of one command to `sums`; returns false if it has none.
    pub fn add_to(&self, command: usize, sums: &mut [Histogram<u64>; Stage::ALL.len()]) -> bool {
        let by_command = self.lock();
        let Some(stages) = &by_command[command] else { return false };
        for (sum, durations) in sums.iter_mut().zip(stages.iter()) {
            durations.add_to(sum);
        }
        true
    }

    /// Clears the histograms; the classes only grow.
    pub(super) fn clear(&self) {
        self.lock().iter_mut().for_each(|histograms| *histograms = None);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Box<ByStage>>>> {
        // If a thread panicked in the middle of a change, the histogram only has a wrong number.
        self.by_command.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_kept_by_command_and_by_class() {
        let stages = Stages::new(2);
        stages.record(1, Stage::Execute, 0);
        stages.record(1, Stage::Execute, 300);
        stages.record(1, Stage::Send, u64::MAX);
        let mut sums = std::array::from_fn(|_| stage_histogram());
        assert!(!stages.add_to(0, &mut sums) && stages.add_to(1, &mut sums));
        assert_eq!(sums.each_ref().map(Histogram::len), [0, 0, 2, 0, 1]);
        assert!(sums[2].max().abs_diff(300) < 30);
        let classes = stages.classes();
        assert_eq!(classes[Stage::Execute as usize][..3], [1, 1, 0]);
        assert_eq!(classes[Stage::Send as usize][STAGE_CLASSES - 1], 1);
        stages.clear();
        assert!(!stages.add_to(1, &mut sums));
        assert_eq!(stages.classes(), classes);
    }

    #[test]
    fn a_class_ends_at_its_bound() {
        for class in 0..STAGE_CLASSES - 1 {
            assert_eq!(class_of(stage_class_bound_ns(class) - 1), class);
            assert_eq!(class_of(stage_class_bound_ns(class)), class + 1);
        }
    }
}
