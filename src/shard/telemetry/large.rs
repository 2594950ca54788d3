//! Large replies of a flight, found while its replies are merged.

use crate::partition::Thresholds;

/// Collects the large replies of a flight while they are merged: command indexes and bytes.
#[derive(Debug)]
pub(in crate::shard) struct LargeReplies {
    bytes_min: usize,
    end: usize,
    pub(in crate::shard) found: Vec<(usize, u64)>,
}

impl LargeReplies {
    /// Creates a collector for replies behind the first `end` bytes of an output.
    pub(in crate::shard) fn new(thresholds: &Thresholds, end: usize) -> LargeReplies {
        LargeReplies { bytes_min: thresholds.reply_bytes, end, found: Vec::new() }
    }

    /// Records the reply of the command at index `at`. It ends where the output has `end` bytes.
    #[inline]
    pub(in crate::shard) fn see(&mut self, at: usize, end: usize) {
        let bytes = end - self.end;
        if bytes >= self.bytes_min {
            self.found.push((at, bytes as u64));
        }
        self.end = end;
    }
}
