//! Parses the bounds of ranges: ranks, scores and texts.

use crate::base::number::parse_i64;
use crate::resp::Error;
use crate::value::sorted_set::{LexEnd, LexRange, ScoreRange, SortedSet};
use std::ops::Range;

/// Kind of the bounds of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

/// Parsed bounds of a range.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds<'a> {
    /// First and last rank, both included. Negative ranks count from the end.
    Rank(i64, i64),
    Score(ScoreRange),
    Lex(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    /// Parses the lower and the upper bound.
    pub(super) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, Error> {
        match by {
            By::Rank => {
                let place = |arg| parse_i64(arg).ok_or(Error::NotInteger);
                Ok(Bounds::Rank(place(min)?, place(max)?))
            }
            By::Score => {
                let not_float = || Error::other("ERR min or max is not a float");
                let (min, is_min_open) = score_end(min).ok_or_else(not_float)?;
                let (max, is_max_open) = score_end(max).ok_or_else(not_float)?;
                Ok(Bounds::Score(ScoreRange { min, max, is_min_open, is_max_open }))
            }
            By::Lex => {
                let not_valid = || Error::other("ERR min or max not valid string range item");
                let (min, max) = (lex_end(min), lex_end(max));
                let range = LexRange::new(min.ok_or_else(not_valid)?, max.ok_or_else(not_valid)?);
                Ok(Bounds::Lex(range))
            }
        }
    }

    /// Returns the ranks of the members within the bounds, in ascending order. With `is_reverse`,
    /// ranks in the bounds count from the last member.
    pub(super) fn ranks(&self, set: &SortedSet, is_reverse: bool) -> Range<usize> {
        match self {
            Bounds::Rank(first, last) => {
                let places = places(*first, *last, set.len());
                if is_reverse { set.len() - places.end..set.len() - places.start } else { places }
            }
            Bounds::Score(range) => set.ranks_by_score(range),
            Bounds::Lex(range) => set.ranks_by_lex(range, is_reverse),
        }
    }
}

/// Returns the ranks from `first` to `last`, both included, clamped to `len` members. Negative
/// ranks count from the end.
fn places(first: i64, last: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_start = |place: i64| if place < 0 { len + place } else { place };
    let (first, last) = (from_start(first).max(0), from_start(last).min(len - 1));
    if first > last { 0..0 } else { first as usize..last as usize + 1 }
}

/// Parses a score bound. Returns the score and whether the bound excludes it: `1.5` includes 1.5,
/// `(1.5` excludes it.
///
/// Like the reference server, reads up to the first NUL, takes an empty number as 0 and an overflow
/// as infinity.
fn score_end(arg: &[u8]) -> Option<(f64, bool)> {
    let (digits, is_open) = match arg {
        [b'(', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    let end = digits.iter().position(|byte| *byte == 0).unwrap_or(digits.len());
    if end == 0 {
        return Some((0.0, is_open));
    }
    let score: f64 = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    (!score.is_nan()).then_some((score, is_open))
}

/// Parses a text bound: `-` is before all texts and `+` after all, `[text` includes the text and
/// `(text` excludes it.
fn lex_end(arg: &[u8]) -> Option<LexEnd<'_>> {
    match arg {
        [b'-'] | [b'-', 0, ..] => Some(LexEnd::Before),
        [b'+'] | [b'+', 0, ..] => Some(LexEnd::Behind),
        [b'[', text @ ..] => Some(LexEnd::Closed(text)),
        [b'(', text @ ..] => Some(LexEnd::Open(text)),
        _ => None,
    }
}
