//! The simulated driver: the same contract without a kernel, and the same run for the same seed.
//!
//! Must not know: the kernel, time other than the clock it is handed.
//!
//! A [`Network`] is shared by the drivers of all shards and the test, which holds the [`Client`]
//! ends. Completions come in seeded random order, some later than they could, and what a client
//! has written comes in random pieces. A wait never blocks: it notes until when the driver would
//! sleep, so that a test can tell that nothing is left to do ([`Network::is_idle`]) and move the
//! clock to the next instant at which something is ([`Network::wakes_at_ns`]).

mod driver;
mod network;

pub use driver::SimulatedDriver;
pub use network::{Client, End, Network};

#[cfg(test)]
mod tests;
