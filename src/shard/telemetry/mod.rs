//! What is told of commands: the command log, LATENCY PROFILE, MONITOR, tests.
//!
//! Must not know: how commands run, where their keys are.

pub(super) mod command_log;
mod inspect;
mod monitor;
pub(super) mod profile;

pub use inspect::Inspection;

use crate::io::ConnId;
use crate::observe::Monitor;

/// What a shard keeps for it.
#[derive(Default)]
pub(super) struct Telemetry {
    /// Which requests are traced.
    pub(super) profile: profile::Profile,
    /// Connections that are shown every command.
    pub(super) monitors: Vec<(ConnId, Monitor)>,
}
