//! The contract of [`Driver`](super::Driver), run against every driver behind it.

mod contract;
mod support;
