//! What std lacks: clock, random numbers, slots, globs, numbers, slab, the counting allocator.
//!
//! Must not know: anything of this crate. It is the lowest layer.

pub mod clock;
