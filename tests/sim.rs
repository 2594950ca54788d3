//! Simulation of the whole server on simulated drivers and clocks.
mod harness;

use annulet::base::alloc::CountingAllocator;

/// As in the server, because `maxmemory` depends on its count.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[path = "sim/blocked.rs"]
mod blocked;
#[path = "sim/checker_selftest.rs"]
mod checker_selftest;
#[path = "sim/connections.rs"]
mod connections;
#[path = "sim/evicted.rs"]
mod evicted;
#[path = "sim/followed.rs"]
mod followed;
#[path = "sim/full.rs"]
mod full;
#[path = "sim/gathered.rs"]
mod gathered;
#[path = "sim/generated.rs"]
mod generated;
#[path = "sim/handed_over.rs"]
mod handed_over;
#[path = "sim/histories.rs"]
mod histories;
#[path = "sim/limited.rs"]
mod limited;
#[path = "sim/modelled.rs"]
mod modelled;
#[path = "sim/moved.rs"]
mod moved;
#[path = "sim/offloaded.rs"]
mod offloaded;
#[path = "sim/one_time.rs"]
mod one_time;
#[path = "sim/paused.rs"]
mod paused;
#[path = "sim/profile.rs"]
mod profile;
#[path = "sim/propagated.rs"]
mod propagated;
#[path = "sim/published.rs"]
mod published;
#[path = "sim/scripts.rs"]
mod scripts;
#[path = "sim/spread.rs"]
mod spread;
#[path = "sim/steps.rs"]
mod steps;
#[path = "sim/stopped.rs"]
mod stopped;
#[path = "sim/subscribers.rs"]
mod subscribers;
#[path = "sim/tracked.rs"]
mod tracked;
#[path = "sim/wide.rs"]
mod wide;
#[path = "sim/workloads.rs"]
mod workloads;
