//! Settings of the shards: number, cores, driver. Specific to Annulet.

use super::IoDriver;
use super::card::{Kind, Setting, field};

/// Largest number of shards of one process: more than the cores of any supported machine.
pub const SHARDS_MAX: u32 = 1024;

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("shards", Kind::Int(0, SHARDS_MAX as i128), "0", field!(shards)).own(),
    Setting::new("pin-shards", Kind::Bool, "yes", field!(pin_shards)).own(),
    Setting::new("io-driver", Kind::Choice(IoDriver::WORDS), "auto", field!(io_driver)).own(),
];
