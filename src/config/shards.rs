//! Settings of the shards: how many, where, on which driver. Annulet's own.

use super::IoDriver;
use super::card::{Kind, Setting, field};

/// The most shards of one process: more cores than any machine that it has been thought for.
pub const SHARDS_MAX: u32 = 1024;

/// The cards.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("shards", Kind::Int(0, SHARDS_MAX as i128), "0", field!(shards)).own(),
    Setting::new("pin-shards", Kind::Bool, "yes", field!(pin_shards)).own(),
    Setting::new("io-driver", Kind::Choice(IoDriver::WORDS), "auto", field!(io_driver)).own(),
];
