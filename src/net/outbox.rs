//! A connection's output side: replies are written here and leave once per turn.
//!
//! ```text
//!   replies -> output --take--> queue -> one chunk under way -> sent, its memory comes back
//! ```

use crate::io::Chunk;
use crate::resp::{Output, Piece};
use std::collections::VecDeque;

/// Replies on their way out.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Where commands write.
    pub output: Output,
    queue: VecDeque<Chunk>,
    queued_bytes: usize,
    under_way_bytes: usize,
    is_sending: bool,
}

/// Bytes of a chunk.
fn chunk_bytes(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Own(bytes) => bytes.len(),
        Chunk::Shared(bytes) => bytes.len(),
    }
}

impl Outbox {
    /// The next chunk to hand to the driver; none while one is under way or nothing is there.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        if self.is_sending {
            return None;
        }
        if self.queue.is_empty() {
            let (queue, queued_bytes) = (&mut self.queue, &mut self.queued_bytes);
            self.output.drain(|piece| {
                let chunk = match piece {
                    Piece::Own(bytes) => Chunk::Own(bytes),
                    Piece::Shared(bytes) => Chunk::Shared(bytes),
                };
                *queued_bytes += chunk_bytes(&chunk);
                queue.push_back(chunk);
            });
        }
        let chunk = self.queue.pop_front()?;
        self.queued_bytes -= chunk_bytes(&chunk);
        self.under_way_bytes = chunk_bytes(&chunk);
        self.is_sending = true;
        Some(chunk)
    }

    /// The chunk under way is done with; its memory is kept for the next replies.
    pub fn sent(&mut self, chunk: Chunk) {
        assert!(self.is_sending, "one chunk is under way");
        self.is_sending = false;
        self.under_way_bytes = 0;
        if let Chunk::Own(bytes) = chunk {
            self.output.reuse(bytes);
        }
    }

    /// Bytes of the chunk under way.
    pub fn under_way_bytes(&self) -> usize {
        self.under_way_bytes
    }

    /// Gives back the memory of an idle connection's buffer.
    pub fn shrink(&mut self) {
        self.output.shrink();
    }

    /// Whether a chunk is under way.
    pub fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Whether nothing is waiting and nothing under way.
    pub fn is_empty(&self) -> bool {
        !self.is_sending && self.queue.is_empty() && self.output.is_empty()
    }

    /// Bytes that the client has not been sent yet.
    pub fn pending_bytes(&self) -> usize {
        self.output.len() + self.queued_bytes + self.under_way_bytes
    }
}
