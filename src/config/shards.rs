//! Settings of the shards: number, cores, driver, offload pool. Specific to Annulet.

use super::IoDriver;
use super::card::{Kind, Setting, field};

/// Largest number of shards of one process: more than the cores of any supported machine.
pub const SHARDS_MAX: u32 = 1024;

/// Values of `offload-elements-min`. At some tens of nanoseconds each, its default takes about as
/// long as a shard may be occupied.
const ELEMENTS: Kind = Kind::Int(1, i32::MAX as i128);

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("shards", Kind::Int(0, SHARDS_MAX as i128), "0", field!(shards)).own(),
    Setting::new("pin-shards", Kind::Bool, "yes", field!(pin_shards)).own(),
    Setting::new("offload-elements-min", ELEMENTS, "10000", field!(offload_elements_min)).own(),
    Setting::new("io-driver", Kind::Choice(IoDriver::WORDS), "auto", field!(io_driver)).own(),
];
