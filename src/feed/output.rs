//! Where the merger's units go: the encoder, the bytes, the marks that were reached.

use super::backlog::Backlog;
use super::block::Part;
use super::encode::Encoder;

/// A mark that is in the stream: all that came before it on any shard lies before this offset, all
/// that came after it behind. No database is selected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The mark's.
    pub id: u64,
    /// Where.
    pub offset: u64,
}

/// The stream as it is written.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) encoder: Encoder,
    pub(super) backlog: Backlog,
    pub(super) marks: Vec<Reached>,
}

impl Output {
    pub(super) fn new(offset: u64) -> Output {
        Output { encoder: Encoder::default(), backlog: Backlog::new(offset), marks: Vec::new() }
    }

    pub(super) fn unit(&mut self, parts: &[Part<'_>], is_transaction: bool) {
        self.encoder.unit(parts, is_transaction, &mut self.backlog);
    }

    pub(super) fn mark(&mut self, id: u64) {
        self.encoder.forget_db();
        self.marks.push(Reached { id, offset: self.backlog.end_offset() });
    }
}
