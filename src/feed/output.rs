//! The output of the merger: the encoder, the backlog, and the marks that were reached.

use super::backlog::Backlog;
use super::block::Part;
use super::encode::Encoder;

/// A mark in the stream. Units that arrived before the mark on any shard are before this offset,
/// later units are after it. No database is selected at the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Identifies the mark.
    pub id: u64,
    /// Offset of the mark in the stream.
    pub offset: u64,
}

/// The stream that is being written.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) encoder: Encoder,
    pub(super) backlog: Backlog,
    pub(super) marks: Vec<Reached>,
    /// The mark at which the append-only file begins another file, until it is reached.
    pub(super) awaited_cut: Option<u64>,
    /// Offset of that mark, from where it is reached until the file has begun.
    pub(super) cut: Option<u64>,
}

impl Output {
    pub(super) fn new(offset: u64) -> Output {
        Output {
            encoder: Encoder::default(),
            backlog: Backlog::new(offset),
            marks: Vec::new(),
            awaited_cut: None,
            cut: None,
        }
    }

    /// Begins a unit and writes at most about `left` bytes of it. Returns whether it is complete. A
    /// void unit is complete at once, and nothing of it is written.
    pub(super) fn begin_unit(
        &mut self,
        parts: &[Part<'_>],
        is_transaction: bool,
        left: usize,
    ) -> bool {
        if parts.iter().any(Part::is_void) {
            return true;
        }
        self.encoder.begin_unit(parts.len());
        self.go_on(parts, is_transaction, left)
    }

    /// Writes at most about `left` further bytes of a unit. Returns whether it is complete.
    pub(super) fn go_on(
        &mut self,
        parts: &[Part<'_>],
        is_transaction: bool,
        mut left: usize,
    ) -> bool {
        self.encoder.step(parts, is_transaction, &mut left, &mut self.backlog)
    }

    pub(super) fn mark(&mut self, id: u64) {
        self.encoder.forget_db();
        if self.awaited_cut == Some(id) {
            self.awaited_cut = None;
            self.cut = Some(self.backlog.end_offset());
        }
        self.marks.push(Reached { id, offset: self.backlog.end_offset() });
    }
}
