//! Commands on sorted sets.

mod add;
mod bounds;
mod pop;
mod random;
mod range;
mod read;
mod remove;
mod store;
mod wait;

use crate::config::Config;
use crate::exec::Command;
use crate::resp::{Protocol, Reply};
use crate::value::Item;
use crate::value::sorted_set::Limits;
use crate::value::string::IntText;

/// The sorted set commands.
pub static FAMILY: &[&Command] = &[
    &add::ZADD,
    &add::ZINCRBY,
    &remove::ZREM,
    &remove::ZREMRANGEBYRANK,
    &remove::ZREMRANGEBYSCORE,
    &remove::ZREMRANGEBYLEX,
    &read::ZCARD,
    &read::ZSCORE,
    &read::ZMSCORE,
    &read::ZRANK,
    &read::ZREVRANK,
    &read::ZCOUNT,
    &read::ZLEXCOUNT,
    &range::ZRANGE,
    &range::ZREVRANGE,
    &range::ZRANGEBYSCORE,
    &range::ZREVRANGEBYSCORE,
    &range::ZRANGEBYLEX,
    &range::ZREVRANGEBYLEX,
    &store::ZRANGESTORE,
    &pop::ZPOPMIN,
    &pop::ZPOPMAX,
    &pop::ZMPOP,
    &wait::BZPOPMIN,
    &wait::BZPOPMAX,
    &wait::BZMPOP,
    &random::ZRANDMEMBER,
    &random::ZSCAN,
];

/// Returns the maximum size of a compact sorted set according to the settings.
pub(super) fn limits_of(config: &Config) -> Limits {
    Limits {
        listpack_entries: usize::try_from(config.zset_max_listpack_entries).unwrap_or(usize::MAX),
        listpack_value: usize::try_from(config.zset_max_listpack_value).unwrap_or(usize::MAX),
    }
}

/// Writer of members, with their scores if requested: as a flat array in RESP2, as pairs in RESP3.
pub(super) struct Members {
    pub(super) with_scores: bool,
}

impl Members {
    /// Writes the array header for `count` members.
    pub(super) fn head(&self, reply: &mut Reply<'_>, count: usize) {
        let is_flat = self.with_scores && reply.protocol() == Protocol::Two;
        reply.array(if is_flat { 2 * count } else { count });
    }

    /// Writes one member.
    #[inline]
    pub(super) fn push(&self, reply: &mut Reply<'_>, member: &Item<'_>, score: f64) {
        if self.with_scores && reply.protocol() == Protocol::Three {
            reply.array(2);
        }
        reply.bulk(member.text(&mut IntText::new()));
        if self.with_scores {
            reply.double(score);
        }
    }
}

#[cfg(test)]
mod tests;
