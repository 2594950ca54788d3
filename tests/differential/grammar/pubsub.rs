//! Messages. Channels have the names of keys. Only connections without replies subscribe.

use super::Part::{Key, Maybe, Pattern, Repeat, Value};
use super::{Check, Command, exact};

pub const FAMILY: &[Command] = &[
    exact("PUBLISH", &[Key, Value]).weighs(15),
    exact("SPUBLISH", &[Key, Value]).weighs(8),
    exact("PUBSUB CHANNELS", &[Maybe(&[Pattern])]).weighs(3).compared(Check::AnyOrder),
    exact("PUBSUB NUMSUB", &[Repeat(0, 3, &[Key])]).weighs(3),
    exact("PUBSUB NUMPAT", &[]).weighs(3),
    exact("PUBSUB SHARDCHANNELS", &[Maybe(&[Pattern])]).weighs(3).compared(Check::AnyOrder),
    exact("PUBSUB SHARDNUMSUB", &[Repeat(0, 3, &[Key])]).weighs(3),
];
