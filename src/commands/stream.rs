//! Commands on streams.

mod add;
mod claim;
mod group;
mod ids;
mod info;
mod pending;
mod range;
mod read;
mod reply;
mod weigh;

use crate::exec::Command;
use crate::resp::Error;

/// The stream commands.
pub static FAMILY: &[&Command] = &[
    &add::XADD,
    &add::XTRIM,
    &add::XSETID,
    &range::XLEN,
    &range::XRANGE,
    &range::XREVRANGE,
    &range::XDEL,
    &read::XREAD,
    &read::XREADGROUP,
    &group::XGROUP,
    &group::XACK,
    &pending::XPENDING,
    &claim::XCLAIM,
    &claim::XAUTOCLAIM,
    &info::XINFO,
];

/// Returns the NOGROUP error of XPENDING, XCLAIM and XAUTOCLAIM, for a missing key or group.
fn no_group(key: &[u8], group: &[u8]) -> Error {
    Error::quoting(&[b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"])
}

/// Returns the NOGROUP error of XGROUP and XINFO, which have found the key.
fn no_group_of_key(key: &[u8], group: &[u8]) -> Error {
    let parts: [&[u8]; 5] =
        [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"];
    Error::quoting(&parts)
}

#[cfg(test)]
mod tests;
