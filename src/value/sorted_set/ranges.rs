//! Ranges of members: by score or by text.

use crate::value::pack::Item;
use crate::value::string::IntText;

/// A range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// Lower end.
    pub min: f64,
    /// Upper end.
    pub max: f64,
    /// Whether the lower end is exclusive.
    pub is_min_open: bool,
    /// Whether the upper end is exclusive.
    pub is_max_open: bool,
}

impl ScoreRange {
    /// Returns whether no score can lie in the range.
    pub fn is_empty(&self) -> bool {
        self.min > self.max || (self.min == self.max && (self.is_min_open || self.is_max_open))
    }

    /// Returns whether a score lies below the range.
    #[inline]
    pub fn is_below(&self, score: f64) -> bool {
        if self.is_min_open { score <= self.min } else { score < self.min }
    }

    /// Returns whether a score lies above the range.
    #[inline]
    pub fn is_above(&self, score: f64) -> bool {
        if self.is_max_open { score >= self.max } else { score > self.max }
    }
}

/// An end of a range of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexEnd<'a> {
    /// Before all texts.
    Before,
    /// This text, inclusive.
    Closed(&'a [u8]),
    /// This text, exclusive.
    Open(&'a [u8]),
    /// After all texts.
    Behind,
}

/// A range of texts. Meaningful only if all scores are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// Lower end.
    pub min: LexEnd<'a>,
    /// Upper end.
    pub max: LexEnd<'a>,
}

impl<'a> LexRange<'a> {
    /// Creates the range from `min` to `max`.
    pub fn new(min: LexEnd<'a>, max: LexEnd<'a>) -> LexRange<'a> {
        LexRange { min, max }
    }

    /// Returns whether no text can lie in the range.
    pub fn is_empty(&self) -> bool {
        match (self.min, self.max) {
            (LexEnd::Behind, _) | (_, LexEnd::Before) => true,
            (LexEnd::Before, _) | (_, LexEnd::Behind) => false,
            (LexEnd::Closed(min), LexEnd::Closed(max)) => min > max,
            (LexEnd::Closed(min) | LexEnd::Open(min), LexEnd::Closed(max) | LexEnd::Open(max)) => {
                min >= max
            }
        }
    }

    /// Returns whether a member lies below the range.
    pub fn is_below(&self, member: &Item<'_>) -> bool {
        let mut text = IntText::new();
        match self.min {
            LexEnd::Before => false,
            LexEnd::Behind => true,
            LexEnd::Closed(min) => member.text(&mut text) < min,
            LexEnd::Open(min) => member.text(&mut text) <= min,
        }
    }

    /// Returns whether a member lies above the range.
    pub fn is_above(&self, member: &Item<'_>) -> bool {
        let mut text = IntText::new();
        match self.max {
            LexEnd::Before => true,
            LexEnd::Behind => false,
            LexEnd::Closed(max) => member.text(&mut text) > max,
            LexEnd::Open(max) => member.text(&mut text) >= max,
        }
    }
}
