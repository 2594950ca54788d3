//! Annulet: a Redis-compatible in-memory data server, one shard per core.
#![deny(missing_docs)]

pub mod base;
pub mod config;
pub mod control;
pub mod io;
pub mod keyspace;
pub mod net;
pub mod observe;
pub mod resp;
pub mod spec;
pub mod value;
