//! What a command is, as a declaration: arity, flags, key specs, ACL categories, docs.
//!
//! Must not know: how a command runs. It is data, and what can be derived from it is derived.

mod card;

pub use card::{Begin, Card, Category, Find, Flag, Group, KeySpec};
