//! What std lacks: clock, random numbers, hash slots, globs, numbers, threads, the counting
//! allocator.
//!
//! Must not know: any other module of this crate. It is the lowest layer.

pub mod alloc;
pub mod background;
pub mod clock;
pub mod crash;
pub mod extended;
pub mod glob;
pub mod grisu;
pub mod hash;
pub mod holes;
mod huge;
pub mod local_time;
pub mod number;
pub mod order;
pub mod rng;
pub mod short;
pub mod slot;
pub mod slot_map;
pub mod syslog;
pub mod system;
#[cfg(system_allocator)]
mod system_heap;
pub mod thread;
pub mod title;
