//! The simulated driver: the contract of [`Driver`](crate::io::Driver) without a kernel. One seed
//! gives one run.
//!
//! Must not know: the kernel, any time other than its clock.
//!
//! The drivers of all shards share a [`Network`] with the test, which holds the [`Client`] ends.
//! Completions come in seeded random order, some delayed by a wait. A client's bytes come in random
//! pieces. A wait never blocks: it records until when the driver would sleep. So a test sees when
//! nothing is left to do ([`Network::is_idle`]) and moves the clock to the next wake-up
//! ([`Network::wakes_at_ns`]).

mod driver;
mod network;

pub use driver::SimulatedDriver;
pub use network::{Client, End, Network};

#[cfg(test)]
mod tests;
