//! Where commands spend their time: counts by latency, for each shard and stage.

use crate::exec::Process;
use crate::observe::LATENCY_OCTAVES;

/// The counts of all shards at one moment, since the start or CONFIG RESETSTAT.
pub(super) struct Stages {
    /// What a command goes through, in its order.
    pub(super) names: &'static [&'static str],
    /// Upper bounds of the places, nanoseconds; the last place has what is longer too.
    pub(super) bounds_ns: Vec<u64>,
    /// By shard, by stage, by place.
    pub(super) counts: Vec<Vec<Vec<u64>>>,
}

/// The counts now.
pub(super) fn stages(process: &Process) -> Stages {
    let counts = |board: &crate::observe::Board| vec![board.latencies.octaves().to_vec()];
    Stages {
        names: &["execute"],
        bounds_ns: (1..=LATENCY_OCTAVES).map(|bits| 1 << bits).collect(),
        counts: process.boards.iter().map(counts).collect(),
    }
}
