//! The atomics of [`super::hold`] under one name. The model checker of `tests/hold_model.rs`
//! compiles that file with its own atomics.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
