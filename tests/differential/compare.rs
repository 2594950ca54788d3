//! Decides whether two replies agree.

use super::wire::{children, text};
use annulet::base::number::parse_i64;

/// Largest difference between the two servers' clocks and turns.
const TOLERANCE_MS: i64 = 10_000;

/// The access clock counts seconds, and begins again after this number.
const ACCESS_CLOCK_MAX: i64 = (1 << 24) - 1;

/// How a command's replies are compared. Errors are always compared byte for byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// Byte for byte.
    Exact,
    /// One or several numbers of seconds that depend on the clock.
    Seconds,
    /// The seconds since an access, which may lie in the future and then seem to be long ago.
    Idle,
    /// One or several numbers of milliseconds that depend on the clock.
    Milliseconds,
    /// Equal elements in any order.
    AnyOrder,
    /// Lists of the same length; other replies need only the same type.
    Length,
    /// A step of an iteration: the same elements in any order, if it ends on both servers.
    Walk,
    /// A reference count: the peer counts the arguments of a queued command as one more.
    Holders,
    /// The name of an encoding. A value that the peer once kept `raw` may stay so although it would
    /// fit next to its key by now, depending on its history.
    Encoding,
    /// Numbers may differ as clocks do, unless they directly follow another number.
    Times,
    /// Replies of equal type: the contents are checked elsewhere, or are specific to each server.
    Kind,
}

impl Check {
    fn agrees_each(self, ours: &[u8], theirs: &[u8]) -> bool {
        let (Some(one), Some(other)) = (children(ours), children(theirs)) else { return false };
        let mut pairs = one.iter().zip(&other);
        one.len() == other.len() && pairs.all(|(one, other)| self.agrees(one, other))
    }

    /// Whether the replies agree.
    pub fn agrees(self, ours: &[u8], theirs: &[u8]) -> bool {
        if ours == theirs {
            return true;
        }
        let is_error = |reply: &[u8]| reply.starts_with(b"-") || reply.starts_with(b"!");
        if is_error(ours) || is_error(theirs) {
            return false;
        }
        match self {
            Check::Exact => false,
            Check::Seconds | Check::Milliseconds if ours[0] == b'*' => {
                self.agrees_each(ours, theirs)
            }
            Check::Seconds => is_near(ours, theirs, TOLERANCE_MS / 1_000),
            Check::Idle => {
                is_near(ours, theirs, TOLERANCE_MS / 1_000)
                    || number(ours).zip(number(theirs)).is_some_and(|(one, other)| {
                        one.min(other) >= 0
                            && one.abs_diff(other) as i64 >= ACCESS_CLOCK_MAX - TOLERANCE_MS / 1_000
                    })
            }
            Check::Milliseconds => is_near(ours, theirs, TOLERANCE_MS),
            Check::AnyOrder => match (sorted(ours), sorted(theirs)) {
                (Some(one), Some(other)) => one == other && ours[0] == theirs[0],
                _ => false,
            },
            Check::Length => match ours[0] {
                b'*' | b'~' => first_line(ours) == first_line(theirs),
                _ => kind(ours) == kind(theirs),
            },
            Check::Walk => match (step(ours), step(theirs)) {
                (Some((true, one)), Some((true, other))) => {
                    sorted(one).is_some() && sorted(one) == sorted(other)
                }
                (Some(_), Some(_)) => true,
                _ => false,
            },
            Check::Holders => number(ours).is_some_and(|ours| number(theirs) == Some(ours + 1)),
            Check::Encoding => {
                let is_raw = ours == b"$6\r\nembstr\r\n" && theirs == b"$3\r\nraw\r\n";
                // The peer's SORT leaves a sorted set in its large form.
                let was_sorted = ours == b"$8\r\nlistpack\r\n" && theirs == b"$8\r\nskiplist\r\n";
                // The peer's scripts set numbers as texts.
                let was_scripted = ours == b"$3\r\nint\r\n"
                    && (theirs == b"$6\r\nembstr\r\n" || theirs == b"$3\r\nraw\r\n");
                is_raw || was_sorted || was_scripted
            }
            Check::Times => has_near_times(ours, theirs),
            Check::Kind => kind(ours) == kind(theirs),
        }
    }
}

/// Whether two elements of `EXEC`'s reply agree, given the checks of the queued commands.
pub fn agrees_queued(queued: &[Check], ours: &[u8], theirs: &[u8]) -> bool {
    let (Some(one), Some(other)) = (children(ours), children(theirs)) else {
        return ours == theirs;
    };
    let pairs = || queued.iter().zip(one.iter().zip(&other));
    one.len() == queued.len()
        && other.len() == queued.len()
        && pairs().all(|(check, (ours, theirs))| check.agrees(ours, theirs))
}

/// Returns a reply whose maps and sets are sorted: what a script returns has a random order there.
pub fn with_sorted_maps(reply: &[u8]) -> Vec<u8> {
    let Some(children) = children(reply) else { return reply.to_vec() };
    let mut children: Vec<Vec<u8>> = children.into_iter().map(with_sorted_maps).collect();
    match reply[0] {
        b'%' => {
            let mut pairs: Vec<Vec<u8>> = children.chunks(2).map(<[_]>::concat).collect();
            pairs.sort();
            children = pairs;
        }
        b'~' => children.sort(),
        _ => {}
    }
    let head = reply.iter().position(|&byte| byte == b'\n').map_or(reply.len(), |at| at + 1);
    [&reply[..head], &children.concat()].concat()
}

/// Returns a reply with its texts of numbers in one form: the shortest digits, no negative zero.
///
/// The peer's SORT leaves a sorted set in its large form, even if it is small. Such a set keeps the
/// sign of a zero, and ZSCAN shows 17 digits of its scores.
pub fn with_plain_scores(reply: &[u8]) -> Vec<u8> {
    if let Some(children) = children(reply) {
        let children = children.into_iter().map(with_plain_scores);
        let head = reply.iter().position(|&byte| byte == b'\n').map_or(reply.len(), |at| at + 1);
        return [reply[..head].to_vec(), children.flatten().collect()].concat();
    }
    let double = || reply.strip_prefix(b",")?.strip_suffix(b"\r\n");
    let digits = text(reply).or_else(double).and_then(|text| std::str::from_utf8(text).ok());
    let Some(score) = digits.and_then(|digits| digits.parse::<f64>().ok()) else {
        return reply.to_vec();
    };
    // Adding zero makes a negative zero positive.
    let digits = (score + 0.0).to_string();
    match reply[0] {
        b'$' => format!("${}\r\n{digits}\r\n", digits.len()).into_bytes(),
        _ => format!(",{digits}\r\n").into_bytes(),
    }
}

/// Returns the number in a reply.
fn number(reply: &[u8]) -> Option<i64> {
    parse_i64(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// Compares numbers that depend on a clock; negative numbers have another meaning and must be
/// equal.
fn is_near(ours: &[u8], theirs: &[u8], tolerance: i64) -> bool {
    match (number(ours), number(theirs)) {
        (Some(one), Some(other)) => {
            one >= 0 && other >= 0 && one.abs_diff(other) <= tolerance as u64
        }
        _ => false,
    }
}

/// Whether two replies are equal line by line; a number that follows no number may be a time.
fn has_near_times(ours: &[u8], theirs: &[u8]) -> bool {
    let lines = |reply| <[u8]>::split_inclusive(reply, |byte| *byte == b'\n');
    let (mut ours, mut theirs) = (lines(ours), lines(theirs));
    let mut was_number = false;
    loop {
        let (one, other) = match (ours.next(), theirs.next()) {
            (Some(one), Some(other)) => (one, other),
            (None, None) => return true,
            _ => return false,
        };
        if one != other && (was_number || !is_near(one, other, TOLERANCE_MS)) {
            return false;
        }
        was_number = one.starts_with(b":");
    }
}

fn sorted(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let mut children = children(reply)?;
    children.sort_unstable();
    Some(children)
}

fn first_line(reply: &[u8]) -> Option<&[u8]> {
    reply.split(|byte| *byte == b'\n').next()
}

/// Returns whether an iteration has ended, and the elements of this step.
fn step(reply: &[u8]) -> Option<(bool, &[u8])> {
    match children(reply)?.as_slice() {
        &[cursor, elements] => Some((cursor == b"$1\r\n0\r\n", elements)),
        _ => None,
    }
}

/// Returns the type of a reply, and whether it is null.
fn kind(reply: &[u8]) -> (Option<&u8>, bool) {
    (reply.first(), reply.get(1) == Some(&b'-'))
}

#[test]
fn replies_agree_or_not() {
    assert!(Check::Exact.agrees(b":1\r\n", b":1\r\n"));
    assert!(!Check::Exact.agrees(b":1\r\n", b":2\r\n"));
    assert!(Check::Seconds.agrees(b":100\r\n", b":99\r\n"));
    assert!(!Check::Seconds.agrees(b":100\r\n", b":-1\r\n"));
    assert!(!Check::Seconds.agrees(b":100\r\n", b":9000\r\n"));
    assert!(Check::Idle.agrees(b":0\r\n", b":16777215\r\n"));
    assert!(!Check::Idle.agrees(b":0\r\n", b":100\r\n"));
    assert!(Check::AnyOrder.agrees(b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+a\r\n"));
    assert!(!Check::AnyOrder.agrees(b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+b\r\n"));
    assert!(Check::Kind.agrees(b"$1\r\na\r\n", b"$1\r\nb\r\n"));
    assert!(!Check::Kind.agrees(b"$1\r\na\r\n", b"$-1\r\n"));
    assert!(!Check::Kind.agrees(b"-ERR a\r\n", b"-ERR b\r\n"));
    assert!(Check::Length.agrees(b"*1\r\n+a\r\n", b"*1\r\n+b\r\n"));
    assert!(!Check::Length.agrees(b"*1\r\n+a\r\n", b"*0\r\n"));
    assert!(Check::Length.agrees(b"$1\r\na\r\n", b"$2\r\nbc\r\n"));
    let step = |cursor: &str, elements: &str| {
        format!("*2\r\n$1\r\n{cursor}\r\n*2\r\n{elements}").into_bytes()
    };
    assert!(Check::Walk.agrees(&step("0", "+a\r\n+b\r\n"), &step("0", "+b\r\n+a\r\n")));
    assert!(!Check::Walk.agrees(&step("0", "+a\r\n+b\r\n"), &step("0", "+b\r\n+c\r\n")));
    assert!(Check::Walk.agrees(&step("0", "+a\r\n+b\r\n"), &step("7", "+b\r\n+c\r\n")));
    assert!(Check::Times.agrees(b"*2\r\n:5\r\n:1\r\n", b"*2\r\n:7\r\n:1\r\n"));
    assert!(!Check::Times.agrees(b"*2\r\n:5\r\n:1\r\n", b"*2\r\n:5\r\n:2\r\n"));
    assert!(!Check::Times.agrees(b"*2\r\n:5\r\n:1\r\n", b"*1\r\n:5\r\n"));
    let plain = |reply: &str| with_plain_scores(reply.as_bytes());
    let scores = ["$2\r\n-0\r\n,-0\r\n", "$18\r\n4.5232999999999999\r\n+-0\r\n"];
    let [zeros, digits] = scores.map(|scores| format!("*3\r\n*2\r\n{scores}$2\r\nx5\r\n:1\r\n"));
    assert_eq!(plain(&zeros), plain("*3\r\n*2\r\n$1\r\n0\r\n,0\r\n$2\r\nx5\r\n:1\r\n"));
    assert_eq!(plain(&digits), plain("*3\r\n*2\r\n$6\r\n4.5233\r\n+-0\r\n$2\r\nx5\r\n:1\r\n"));
    assert_ne!(plain("$3\r\n4.5\r\n"), plain("$3\r\n4.6\r\n"));
    assert_ne!(plain("$2\r\n-1\r\n"), plain("$1\r\n1\r\n"));
    let queued = [Check::Exact, Check::Seconds];
    assert!(agrees_queued(&queued, b"*2\r\n+a\r\n:7\r\n", b"*2\r\n+a\r\n:8\r\n"));
    assert!(!agrees_queued(&queued, b"*2\r\n+a\r\n:7\r\n", b"*1\r\n+a\r\n"));
}
