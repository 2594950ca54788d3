//! What a command is, as a declaration: arity, flags, key specs, ACL categories, docs.
//!
//! Must not know: how a command runs. It is data, and what can be derived from it is derived.

mod card;
mod derived;

pub use card::{Access, Begin, Card, Category, Change, Find, Flag, Group, KeySpec};
pub use derived::{ArgRange, CATEGORY_NAMES};
