//! Descriptions of arguments that commands of several families share.

use crate::spec::Arg;

/// A part of a result.
pub(super) const LIMIT: Arg =
    Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).after("LIMIT");

/// A new expiry, or the old one.
pub(super) const EXPIRATION_OR_KEEPTTL: Arg = Arg::one_of(
    "expiration",
    &[
        Arg::integer("seconds").after("EX"),
        Arg::integer("milliseconds").after("PX"),
        Arg::unix_time("unix-time-seconds").after("EXAT"),
        Arg::unix_time("unix-time-milliseconds").after("PXAT"),
        Arg::keyword("KEEPTTL"),
    ],
);

/// A new expiry, or none.
pub(super) const EXPIRATION_OR_PERSIST: Arg = Arg::one_of(
    "expiration",
    &[
        Arg::integer("seconds").after("EX"),
        Arg::integer("milliseconds").after("PX"),
        Arg::unix_time("unix-time-seconds").after("EXAT"),
        Arg::unix_time("unix-time-milliseconds").after("PXAT"),
        Arg::keyword("PERSIST"),
    ],
);
