//! Parses stream ids: whole, without a sequence number, or as the bound of a range.

use crate::base::number::{parse_cursor, parse_i64};
use crate::resp::Error;
use crate::value::stream::Id;

/// Maximum length of an id in bytes.
const ID_BYTES_MAX: usize = 127;

const INVALID: Error = Error::Other(std::borrow::Cow::Borrowed(
    "ERR Invalid stream ID specified as stream command argument",
));

/// Splits an id into its milliseconds and the text after the dash, if any. A NUL ends the id.
fn parts(arg: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    if arg.len() > ID_BYTES_MAX {
        return None;
    }
    let arg = arg.split(|byte| *byte == 0).next().unwrap_or_default();
    let (ms, seq) = match arg.iter().position(|byte| *byte == b'-') {
        None => (arg, None),
        Some(dash) => (&arg[..dash], Some(&arg[dash + 1..])),
    };
    Some((parse_cursor(ms)?, seq))
}

/// Parses an id. Without a sequence number the sequence is `missing`.
fn parse(arg: &[u8], missing: u64) -> Option<Id> {
    let (ms, seq) = parts(arg)?;
    let seq = seq.map_or(Some(missing), parse_cursor)?;
    Some(Id::new(ms, seq))
}

/// Parses an id. Without a sequence number the sequence is 0.
pub(super) fn parse_id(arg: &[u8]) -> Result<Id, Error> {
    parse(arg, 0).ok_or(INVALID)
}

/// Parses an id, `-` for the smallest id or `+` for the largest. Without a sequence number the
/// sequence is `missing`.
pub(super) fn parse_any_id(arg: &[u8], missing: u64) -> Result<Id, Error> {
    match arg.split(|byte| *byte == 0).next() {
        Some(b"-") => Ok(Id::MIN),
        Some(b"+") => Ok(Id::MAX),
        _ => parse(arg, missing).ok_or(INVALID),
    }
}

/// Parses the id of a new entry: whole, or with a generated sequence (`5-*`).
pub(super) fn parse_new_id(arg: &[u8]) -> Result<NewId, Error> {
    match parts(arg) {
        Some((ms, Some(b"*"))) => Ok(NewId::Milliseconds(ms)),
        _ => parse_id(arg).map(NewId::Whole),
    }
}

/// Requested id of a new entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`: generated from the time.
    Next,
    /// `ms-*`: the next sequence number within these milliseconds.
    Milliseconds(u64),
    /// Exactly this id.
    Whole(Id),
}

impl NewId {
    /// Returns the id to use after `last` at time `now_ms`. Returns `None` if no such id is greater
    /// than `last`.
    pub(super) fn resolve(self, last: Id, now_ms: u64) -> Option<Id> {
        match self {
            NewId::Next if now_ms > last.ms => Some(Id::new(now_ms, 0)),
            NewId::Next => last.next(),
            NewId::Milliseconds(ms) if ms == last.ms => {
                last.seq.checked_add(1).map(|seq| Id::new(ms, seq))
            }
            NewId::Milliseconds(ms) => Some(Id::new(ms, 0)),
            NewId::Whole(id) => Some(id),
        }
        .filter(|id| *id > last)
    }
}

/// Parses the smallest id of a range. A leading `(` excludes the id itself.
pub(super) fn parse_start(arg: &[u8]) -> Result<Id, Error> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => {
            let next = parse_id(id)?.next();
            next.ok_or(Error::other("ERR invalid start ID for the interval"))
        }
        _ => parse_any_id(arg, 0),
    }
}

/// Parses the largest id of a range. A leading `(` excludes the id itself.
pub(super) fn parse_end(arg: &[u8]) -> Result<Id, Error> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => {
            let previous = parse(id, u64::MAX).ok_or(INVALID)?.previous();
            previous.ok_or(Error::other("ERR invalid end ID for the interval"))
        }
        _ => parse_any_id(arg, u64::MAX),
    }
}

/// Parses an integer. Anything else is the error of most commands.
pub(super) fn parse_integer(arg: &[u8]) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::NotInteger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_as_in_the_reference() {
        let good: &[(&[u8], u64, u64)] = &[
            (b"5", 5, 0),
            (b"5-3", 5, 3),
            (b"05-+3", 5, 3),
            (b" 5- 3", 5, 3),
            (b"5--03", 5, 3u64.wrapping_neg()),
            (b"5-3\0x", 5, 3),
            (b"18446744073709551615-18446744073709551615", u64::MAX, u64::MAX),
        ];
        for (arg, ms, seq) in good {
            assert_eq!(parse_id(arg), Ok(Id::new(*ms, *seq)), "{arg:?}");
        }
        let bad: &[&[u8]] = &[b"", b"-", b"+", b"-5", b"5-", b"x", b"5-*", b"5-3-", b"5--3"];
        for arg in bad {
            assert_eq!(parse_id(arg), Err(INVALID), "{arg:?}");
        }
        assert_eq!(parse_new_id(b"5-*"), Ok(NewId::Milliseconds(5)));
        assert_eq!(parse_end(b"5"), Ok(Id::new(5, u64::MAX)));
        assert_eq!(parse_end(b"(5"), Ok(Id::new(5, u64::MAX - 1)));
        assert_eq!(parse_start(b"(5-1"), Ok(Id::new(5, 2)));
        assert!(parse_start(b"(").is_err() && parse_start(b"(-").is_err());
    }
}
