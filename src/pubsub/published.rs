//! A message on its way to the shards of its subscribers, and its bytes on the wire.

use crate::resp::{Output, Protocol, Reply};
use bytes::Bytes;

/// The sorts of names that clients subscribe to. Each has names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    ShardChannel,
}

impl Sort {
    /// Number of sorts.
    pub const COUNT: usize = 3;

    /// All sorts.
    pub const ALL: [Sort; Sort::COUNT] = [Sort::Channel, Sort::Pattern, Sort::ShardChannel];

    /// Returns the first element of the reply to a subscription.
    pub const fn subscribed(self) -> &'static [u8] {
        match self {
            Sort::Channel => b"subscribe",
            Sort::Pattern => b"psubscribe",
            Sort::ShardChannel => b"ssubscribe",
        }
    }

    /// Returns the first element of the reply to the end of a subscription.
    pub const fn unsubscribed(self) -> &'static [u8] {
        match self {
            Sort::Channel => b"unsubscribe",
            Sort::Pattern => b"punsubscribe",
            Sort::ShardChannel => b"sunsubscribe",
        }
    }

    /// Returns the first element of a message.
    const fn message(self) -> &'static [u8] {
        match self {
            Sort::Channel => b"message",
            Sort::Pattern => b"pmessage",
            Sort::ShardChannel => b"smessage",
        }
    }
}

/// The connection whose command has published a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Shard of the connection.
    pub home: u16,
    /// Number of the connection at its shard.
    pub conn: u32,
    /// Distinguishes a reused connection number from its predecessor.
    pub generation: u32,
}

/// A message. All subscribers of all shards share its bytes.
#[derive(Debug)]
pub struct Published {
    /// [`Sort::Channel`] or [`Sort::ShardChannel`].
    pub sort: Sort,
    /// The channel.
    pub channel: Bytes,
    /// What was published.
    pub payload: Bytes,
    /// The patterns with subscriptions that match the channel.
    pub patterns: Vec<Bytes>,
    /// Version of the subscriptions at its moment: it is for subscriptions that are not younger.
    pub version: u64,
    /// The connection whose command has published it, if that has to be known.
    pub cause: Option<Cause>,
    /// The shard that has published it.
    pub from: u16,
    /// Number in the order of units with several parts. 0 if it goes to one shard.
    pub sequence: u64,
    /// The shards with subscribers, each with the weight of the message there.
    pub homes: Vec<(u16, usize)>,
}

impl Published {
    /// Writes the message as the subscribers to its channel receive it.
    pub fn write(&self, protocol: Protocol, output: &mut Output) {
        let mut reply = Reply::new(output, protocol);
        reply.push(3);
        reply.bulk(self.sort.message());
        reply.bulk(&self.channel);
        reply.bulk_shared(self.payload.clone());
    }

    /// Writes the message as the subscribers to a pattern receive it.
    pub fn write_matched(&self, pattern: &[u8], protocol: Protocol, output: &mut Output) {
        let mut reply = Reply::new(output, protocol);
        reply.push(4);
        reply.bulk(Sort::Pattern.message());
        reply.bulk(pattern);
        reply.bulk(&self.channel);
        reply.bulk_shared(self.payload.clone());
    }
}
