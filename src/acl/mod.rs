//! Access control lists: users, their rules, and the check of a command against them.
//!
//! A [`User`] is immutable. A change puts another one in its place ([`Acl`]), and the version of
//! all users grows. A session keeps its user and takes the present one when the version has
//! changed, so a check needs no lock.
//!
//! ```text
//!   rule texts --rules--> Selector: command bits, key and channel patterns, databases
//!   User       name, passwords, one or more selectors: one of them must allow a command
//!   Call       a command with its arguments --check--> allowed, or a Denial
//! ```
//!
//! Must not know: sockets, sessions, shards, how a command runs.

mod catalogue;
mod check;
mod file;
mod log;
mod password;
mod pattern;
mod rules;
mod selector;
mod user;
mod users;

#[cfg(test)]
mod tests;

pub use catalogue::{Catalogue, Known};
pub use check::{Call, Denial, KeysOf, Needs, Reason, selected_database};
pub use file::{check_line, read_file, read_lines};
pub use log::{AclLog, DenialContext, LogEntry, LogKey, Refused};
pub use password::random_digits;
pub use rules::has_blanks;
pub use selector::Selector;
pub use user::{NewUsers, User, UserId};
pub use users::Acl;
