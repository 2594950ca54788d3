//! Records of commands: the command log, LATENCY PROFILE, MONITOR, and counts for tests.
//!
//! Must not know: how commands run, where their keys are.

pub(super) mod command_log;
mod inspect;
mod monitor;
pub(super) mod profile;

pub use inspect::Inspection;

use crate::io::ConnId;
use crate::observe::Monitor;

/// Telemetry state of a shard.
#[derive(Default)]
pub(super) struct Telemetry {
    /// Which requests are traced.
    pub(super) profile: profile::Profile,
    /// Connections that are monitors.
    pub(super) monitors: Vec<(ConnId, Monitor)>,
}
