//! Tests of the contract of [`Driver`](super::Driver), run against every driver.

mod contract;
mod support;
