//! Pub/sub: who has subscribed to what, and messages on their way to the subscribers.
//!
//! Must not know: commands, sessions, shards, the keyspace.
//!
//! # The parts
//!
//! ```text
//!   hub        one per process: counts the subscriptions of each shard, and publishes
//!   registry   names with their subscriptions
//!   patterns   finds the patterns that match a channel
//!   published  a message, and its bytes on the wire
//! ```
//! The hub knows only how many subscriptions each shard has. Which connections these are, the
//! shard itself knows.
//!
//! # Why clients see one Redis
//!
//! A change of subscriptions holds the hub's lock exclusively. A publication holds it shared, from
//! the count until the message is in the inboxes of all shards with subscribers. If these are
//! several, it pushes under the sequencer of the mesh. So a publication is a unit of the mesh that
//! is posted at the moment of its count:
//!
//! 1. The count is exact: no subscription begins or ends between the count and the posting.
//!    Subscriptions have a version, and a shard delivers a message to the subscriptions that are
//!    older than the message. A subscription that ends first takes the messages that are in the
//!    inbox already.
//! 2. All subscribers see messages in one order, by rules 1 and 4 of the mesh.
//! 3. A client that has seen a message sees everything that precedes it: a command that it sends
//!    then is posted later than what its publisher had done, and finds that ahead, by rules 1 to 4.
//! 4. A command that has seen what follows a message gets its reply behind the message. The reply
//!    comes through the inbox of its connection's shard, and was pushed there after the message. If
//!    the command runs at home, the home has taken the message before: a connection with
//!    subscriptions is served only if no message that its own shard has published is in the inbox.
//! 5. A command that has not seen what precedes a message gets its reply before the message. The
//!    reply of its part was pushed before the message. So a message that arrives while a connection
//!    waits for replies goes before them if no part was answered yet, and behind all of them
//!    otherwise.
//! 6. Messages that a client's own command publishes go behind the reply of that command.
//!
//! # What is bounded
//!
//! Messages in the inbox of a shard have a weight, see [`WAITING_WEIGHT_MAX`]. Above it no shard
//! serves connections until the inbox is drained. Draining waits for nothing.

mod hub;
mod patterns;
mod published;
mod registry;

pub use hub::{Count, Poster, PubSub};
pub use published::{Cause, Published, Sort};

/// The most weight of the messages that wait in the inbox of a shard, in deliveries of a message to
/// a subscription; about 2 ms of work.
pub const WAITING_WEIGHT_MAX: usize = 16 << 10;

/// Bytes of a message that weigh as much as a delivery.
pub const BYTES_PER_WEIGHT: usize = 4 << 10;
