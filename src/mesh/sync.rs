//! The atomics of [`super::hold`], by one name: the model checker of `tests/hold_model.rs` compiles
//! that file with its own.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
