//! The steps between the parser and a command's handler: the gates, in order, and the router.
//!
//! Must not know: how a command runs, what is in the keyspace.

mod admit;
mod redirect;
mod route;

pub use admit::{Admission, admit, denial_error, find, is_http};
pub use redirect::{KeysHere, SlotUse, UNKNOWN_CLIENT, check_keys, check_slot, check_transaction};
pub use route::{Place, Router};
