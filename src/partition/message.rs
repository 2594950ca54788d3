//! What a partition passes to the thread that holds it.

use crate::keyspace::Invalidation;
use crate::mesh::Envelope;
use std::sync::Arc;

/// A message to send, or work for the partition's own shard.
#[derive(Debug)]
pub enum Outgoing {
    /// The reply to an envelope. Any holder of the partition can send it: its place in the home's
    /// inbox was reserved when the envelope was posted.
    Answer(Box<Envelope>),
    /// A one-way message to its envelope's owner. The partition's own shard counts it.
    OneWay(Box<Envelope>),
    /// Invalidations for clients of the partition's own shard.
    Told(Vec<Arc<Invalidation>>),
    /// Gives the credit of a waiting part back to this home. Any holder of the partition can send
    /// it.
    Credit(u16),
}
