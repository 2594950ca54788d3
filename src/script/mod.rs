//! The Lua engine: EVAL scripts and function libraries.
//!
//! [`Scripts`] and [`Libraries`] exist once per process. A [`Vm`] belongs to one partition. It
//! compiles a script or a library when it first runs it. What a script asks of the server passes
//! through the trait [`Host`].
//!
//! Must not know: partitions, shards, which commands exist, where a script runs.

mod answer;
mod api;
mod bits;
mod header;
mod host;
mod json;
mod libraries;
pub mod limits;
mod machine;
mod msgpack;
mod random;
mod register;
mod result;
mod scripts;
mod state;
mod structs;
mod vm;

pub use api::sha1_digits;
pub use header::{ScriptFlags, script_header};
pub use host::{AclAnswer, Host, LogLevel, Propagation, Verdict};
pub use libraries::{Function, FunctionFacts, Libraries, Library, RestorePolicy};
pub use scripts::{Origin, SHA1_DIGITS, Script, Scripts};
pub use vm::{Invocation, Loader, Ran, RunId, Vm, VmOptions};
