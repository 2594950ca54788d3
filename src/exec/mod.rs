//! The narrow waist: what a command is when it runs, on whose behalf, and one way to run it.
//!
//! Must not know: which commands exist (the list is handed in), sockets, other shards.

mod batch;
mod command;
mod context;
mod filter;
mod process;
mod session;
mod table;

pub use batch::{BATCH_COMMANDS_MAX, Item, Runner, Words};
pub use command::{Command, KeysFn, Merge, Over, Run, SessionFn};
pub use context::{Context, Effects, Request, SessionContext};
pub use filter::{CLIENT_CAPABILITIES, CLIENT_FLAGS, ClientFilter, ClientKind, Traits};
pub use process::{Process, ProcessParts, Shutdown};
pub use session::Session;
pub use table::{CommandTable, Entry, KeyRange};
