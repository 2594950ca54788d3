//! The replication backlog: the last bytes of the stream.
//!
//! ```text
//!   first_offset                                    end_offset
//!   |  64 KiB, sealed  |  64 KiB, sealed  |  open ...  |
//!   ^ trimmed block by block                           ^ appended
//! ```
//! An offset is the number of stream bytes before it. Readers share sealed blocks by reference;
//! reads from the open block are copied.

use super::limits::BACKLOG_BLOCK_BYTES;
use bytes::Bytes;
use std::collections::VecDeque;

/// The last bytes of the stream, in memory.
#[derive(Debug)]
pub struct Backlog {
    sealed: VecDeque<Bytes>,
    open: Vec<u8>,
    first_offset: u64,
    end_offset: u64,
}

impl Backlog {
    /// Creates an empty backlog of a stream that is at `offset`.
    pub fn new(offset: u64) -> Backlog {
        Backlog {
            sealed: VecDeque::new(),
            open: Vec::new(),
            first_offset: offset,
            end_offset: offset,
        }
    }

    /// Appends bytes to the stream.
    pub fn append(&mut self, mut bytes: &[u8]) {
        self.end_offset += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = BACKLOG_BLOCK_BYTES - self.open.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.open.extend_from_slice(now);
            bytes = rest;
            if self.open.len() == BACKLOG_BLOCK_BYTES {
                let next = Vec::with_capacity(BACKLOG_BLOCK_BYTES);
                self.sealed.push_back(std::mem::replace(&mut self.open, next).into());
            }
        }
    }

    /// Returns the offset of the oldest byte in the backlog.
    pub fn first_offset(&self) -> u64 {
        self.first_offset
    }

    /// Returns the offset of the next byte that will be appended.
    pub fn end_offset(&self) -> u64 {
        self.end_offset
    }

    /// Returns the number of bytes in the backlog.
    pub fn len(&self) -> u64 {
        self.end_offset - self.first_offset
    }

    /// Returns whether the backlog holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns bytes from an offset on: at most `bytes_max`, and not beyond the end of a block.
    /// Returns no bytes at the end of the stream, and `None` if the offset is trimmed or after the
    /// end.
    pub fn read(&self, from: u64, bytes_max: usize) -> Option<Bytes> {
        if from < self.first_offset || from > self.end_offset {
            return None;
        }
        let behind =
            usize::try_from(from - self.first_offset).expect("the backlog fits into memory");
        let (block, start) = (behind / BACKLOG_BLOCK_BYTES, behind % BACKLOG_BLOCK_BYTES);
        let end = |len: usize| start + bytes_max.min(len - start);
        Some(match self.sealed.get(block) {
            Some(sealed) => sealed.slice(start..end(sealed.len())),
            None => Bytes::copy_from_slice(&self.open[start..end(self.open.len())]),
        })
    }

    /// Drops old blocks. Keeps the last `keep_bytes` bytes, and all bytes from `min_reader_offset`
    /// on.
    pub fn trim(&mut self, keep_bytes: u64, min_reader_offset: Option<u64>) {
        let until = self.end_offset.saturating_sub(keep_bytes);
        let until = min_reader_offset.map_or(until, |reader| reader.min(until));
        while let Some(first) = self.sealed.front()
            && self.first_offset + first.len() as u64 <= until
        {
            self.first_offset += first.len() as u64;
            self.sealed.pop_front();
        }
        debug_assert_eq!(self.len(), self.held_bytes());
    }

    fn held_bytes(&self) -> u64 {
        (self.sealed.len() * BACKLOG_BLOCK_BYTES + self.open.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BACKLOG_BLOCK_BYTES as u64;

    fn byte_at(offset: u64) -> u8 {
        (offset % 251) as u8
    }

    fn filled(start: u64, len: u64) -> Backlog {
        let mut backlog = Backlog::new(start);
        let bytes: Vec<u8> = (start..start + len).map(byte_at).collect();
        for piece in bytes.chunks(1_000) {
            backlog.append(piece);
        }
        backlog
    }

    fn read_all(backlog: &Backlog, mut from: u64, bytes_max: usize) -> u64 {
        while from < backlog.end_offset() {
            let bytes = backlog.read(from, bytes_max).expect("the bytes are in the backlog");
            assert!(!bytes.is_empty() && bytes.len() <= bytes_max);
            for byte in bytes {
                assert_eq!(byte, byte_at(from));
                from += 1;
            }
        }
        from
    }

    #[test]
    fn appended_bytes_are_read_from_any_offset() {
        let backlog = filled(77, 3 * BLOCK + 500);
        assert_eq!((backlog.first_offset(), backlog.end_offset()), (77, 77 + 3 * BLOCK + 500));
        for from in [77, 78, 76 + BLOCK, 77 + BLOCK, 77 + 3 * BLOCK + 499] {
            for bytes_max in [999, usize::MAX] {
                assert_eq!(read_all(&backlog, from, bytes_max), backlog.end_offset());
            }
        }
        assert_eq!(backlog.read(backlog.end_offset(), 10), Some(Bytes::new()));
        assert_eq!(backlog.read(backlog.end_offset() + 1, 10), None);
        assert_eq!(backlog.read(76, 10), None);
    }

    #[test]
    fn an_append_may_be_longer_than_a_block() {
        let mut backlog = Backlog::new(0);
        backlog.append(&(0..3 * BLOCK).map(byte_at).collect::<Vec<_>>());
        assert_eq!(read_all(&backlog, 0, usize::MAX), 3 * BLOCK);
        assert_eq!(backlog.read(3 * BLOCK, 1), Some(Bytes::new()));
    }

    #[test]
    fn trimming_keeps_the_requested_bytes() {
        let mut backlog = filled(10, 4 * BLOCK + 100);
        backlog.trim(2 * BLOCK, Some(10 + BLOCK));
        assert_eq!(backlog.first_offset(), 10 + BLOCK);
        assert_eq!(backlog.read(10 + BLOCK - 1, 1), None);
        backlog.trim(2 * BLOCK + 101, None);
        assert_eq!(backlog.first_offset(), 10 + BLOCK, "only whole blocks are dropped");
        backlog.trim(2 * BLOCK, None);
        assert_eq!(backlog.first_offset(), 10 + 2 * BLOCK);
        assert_eq!(read_all(&backlog, 10 + 2 * BLOCK, usize::MAX), backlog.end_offset());
        backlog.trim(0, None);
        assert_eq!((backlog.first_offset(), backlog.len()), (10 + 4 * BLOCK, 100));
    }
}
