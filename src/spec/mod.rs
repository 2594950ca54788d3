//! The declaration of a command: arity, flags, key specs, ACL categories, documentation.
//!
//! Must not know: how a command runs. A declaration is data, and other data are derived from it.

mod arg;
mod card;
mod derived;

pub use arg::{Arg, ArgKind};
pub use card::{
    Access, Begin, Card, Category, Change, Channels, Databases, Find, Flag, Group, KeySpec,
};
pub use derived::{ArgRange, CATEGORY_NAMES};
