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
//! the count until the message is in the inboxes of all shards with subscribers. If there are
//! several such shards, it pushes under the sequencer of the mesh. So a publication is a unit of
//! the mesh that is posted at the moment of its count.
//!
//! - **The count is exact.** No subscription begins or ends between count and posting. A
//!   subscription has a version, and older messages in the inbox do not reach it. When it ends,
//!   its shard first takes the messages in its inbox, which were counted for it.
//! - **All subscribers see messages in one order**, by rules 1 and 4 of the mesh.
//! - **Who has seen a message sees what precedes it.** A command that is sent then is posted after
//!   everything that its publisher had done before, and finds that ahead.
//!
//! A connection also sees when messages come between its own replies. Let U be its command in
//! flight and M a message that arrives meanwhile. There is at most one such command: batches of
//! a connection with subscriptions have one command.
//!
//! - **U runs in one part.** Its reply goes through the inbox of the connection's shard, like M.
//!   What precedes M cannot be missing in a reply that was pushed after M. What follows M cannot be
//!   in a reply that was pushed before M. So the order of arrival is right.
//! - **U has parts on several shards.** Then it locks its keys (a connection without subscriptions
//!   needs no locks for that), and takes effect when its home has all answers of the first round.
//!   If U has seen what follows M, then M was pushed before U got the last lock, and arrives before
//!   the answer to it. If U has missed what precedes M, that change has waited for U's locks, so M
//!   arrives after all answers. So M goes before the reply of U until then, and behind it from then
//!   on.
//! - **U has published M itself.** Then M goes behind the reply, and so does every later message.
//! - **U runs at home, without a flight.** The shard takes its inbox before it serves a connection
//!   with subscriptions again, if it has published anything itself meanwhile. For the same reason a
//!   reply to the shard's own connection goes through the inbox while such a message is there.
//!
//! A command that publishes is part of no batch over several shards, because it takes effect when
//! it runs. In a transaction over several shards, the home publishes under the locks, so others
//! see the changes after the message.
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
