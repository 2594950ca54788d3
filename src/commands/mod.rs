//! Commands: one file or folder per family, with its cards, handlers and tests.
//!
//! Must not know: sockets, shards, the journal. A handler sees its context and nothing else.

mod acl;
mod annulet;
mod arg_groups;
mod args;
mod bitmap;
mod client;
mod cluster;
mod command;
mod command_log;
mod config;
mod connection;
mod debug;
mod dump;
mod each_key;
mod footprint;
mod generic;
mod geo;
mod hash;
mod help;
mod hyperloglog;
mod info;
mod latency;
mod list;
mod lolwut;
mod memory;
mod migrate;
mod monitor;
mod pubsub;
mod replication;
mod scripting;
mod secrets;
mod server;
#[cfg(test)]
mod session_testing;
mod set;
mod sort;
mod sorted_set;
mod sorted_set_algebra;
mod stream;
mod string;
#[cfg(test)]
mod testing;
mod transactions;

pub use acl::load_users;
pub use annulet::moved_slots;
pub use config::log_form;
pub use debug::{answer_debug, merge_debug};
pub use info::info_text;
pub use scripting::restore_functions;
pub use secrets::{is_secret, shown_args};

use crate::exec::Command;

/// All commands, by family. The server offers only the commands that their family lists.
pub static FAMILIES: &[&[&Command]] = &[
    string::FAMILY, //
    acl::FAMILY,
    annulet::FAMILY,
    bitmap::FAMILY,
    list::FAMILY,
    set::FAMILY,
    sorted_set::FAMILY,
    sorted_set_algebra::FAMILY,
    hash::FAMILY,
    stream::FAMILY,
    hyperloglog::FAMILY,
    geo::FAMILY,
    sort::FAMILY,
    dump::FAMILY,
    migrate::FAMILY,
    generic::FAMILY,
    connection::FAMILY,
    pubsub::FAMILY,
    cluster::FAMILY,
    server::FAMILY,
    scripting::FAMILY,
    transactions::FAMILY,
    replication::FAMILY,
];
