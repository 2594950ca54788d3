//! The steps between the parser and a command's handler: the gates, in order, and the router.
//!
//! Must not know: how a command runs, what is in the keyspace.

mod admit;
mod route;

pub use admit::{Admission, admit, denial_error, find, is_http};
pub use route::{Place, Router};
