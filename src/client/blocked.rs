//! What a connection's home knows of a command that waits in place of a reply.
//!
//! ```text
//!   may wait, and runs   --answered-------------------------------------------> none
//!        |  the owners of its keys know that it waits
//!        v
//!      waits --an owner has served it, or it gives up and they are told-------> none
//! ```

use crate::exec::{Entry, Null, Ticket};
use crate::mesh::FlightId;
use std::sync::Arc;

/// A command that waits, or may begin to.
#[derive(Debug)]
pub struct Blocked {
    /// Decides who serves it.
    pub ticket: Arc<Ticket>,
    /// The connection's flight that waits for the reply.
    pub flight: FlightId,
    /// What is known once it waits.
    pub wait: Option<Waiting>,
    /// Why it gives up as soon as its run, which is under way, finds nothing.
    pub giving_up: Option<GivingUp>,
}

/// A command that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The command.
    pub entry: &'static Entry,
    /// When it gives up, Unix milliseconds.
    pub deadline_ms: Option<u64>,
    /// What it replies then.
    pub null: Null,
    /// The shards that know it.
    pub shards: Vec<u16>,
}

/// Why a command waits no more without having been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivingUp {
    /// Its time is over, or somebody says so: it replies that there is nothing.
    Timeout,
    /// Somebody has ended it with an error.
    Error,
}
