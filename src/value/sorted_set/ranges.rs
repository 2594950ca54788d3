//! Ranges of members: by their scores, or by their texts.

use crate::value::pack::Item;
use crate::value::string::IntText;

/// Scores from one end to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The lower end.
    pub min: f64,
    /// The upper end.
    pub max: f64,
    /// Whether the lower end itself is left out.
    pub is_min_open: bool,
    /// Whether the upper end itself is left out.
    pub is_max_open: bool,
}

impl ScoreRange {
    /// Whether nothing can be inside.
    pub fn is_empty(&self) -> bool {
        self.min > self.max || (self.min == self.max && (self.is_min_open || self.is_max_open))
    }

    /// Whether a score comes before all that are inside.
    #[inline]
    pub fn is_below(&self, score: f64) -> bool {
        if self.is_min_open { score <= self.min } else { score < self.min }
    }

    /// Whether a score comes behind all that are inside.
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
    /// This text, which is inside.
    Closed(&'a [u8]),
    /// This text, which is not inside.
    Open(&'a [u8]),
    /// Behind all texts.
    Behind,
}

/// Texts from one end to the other: of use where all scores are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexEnd<'a>,
    /// The upper end.
    pub max: LexEnd<'a>,
}

impl<'a> LexRange<'a> {
    /// From `min` to `max`.
    pub fn new(min: LexEnd<'a>, max: LexEnd<'a>) -> LexRange<'a> {
        LexRange { min, max }
    }

    /// Whether nothing can be inside.
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

    /// Whether a member comes before all that are inside.
    pub fn is_below(&self, member: &Item<'_>) -> bool {
        let mut text = IntText::new();
        match self.min {
            LexEnd::Before => false,
            LexEnd::Behind => true,
            LexEnd::Closed(min) => member.text(&mut text) < min,
            LexEnd::Open(min) => member.text(&mut text) <= min,
        }
    }

    /// Whether a member comes behind all that are inside.
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
