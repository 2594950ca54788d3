//! A connection's output side: replies are written here and leave once per turn.
//!
//! ```text
//!   replies -> output --take--> queue -> one chunk under way -> sent, its memory comes back
//! ```

use crate::io::Chunk;
use crate::resp::{Mark, Output, Piece};
use std::collections::VecDeque;

/// Replies on their way out.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Where commands write.
    pub output: Output,
    /// What is written after this point is not for the client.
    muted_from: Option<Mark>,
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
        self.drop_muted();
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
            self.muted_from = self.muted_from.map(|_| self.output.mark());
        }
        let chunk = self.queue.pop_front()?;
        self.queued_bytes -= chunk_bytes(&chunk);
        self.under_way_bytes = chunk_bytes(&chunk);
        self.is_sending = true;
        Some(chunk)
    }

    /// From now on nothing that is written leaves, nor what was written while it was muted.
    pub fn mute(&mut self) {
        self.drop_muted();
        self.muted_from = Some(self.output.mark());
    }

    /// What is written leaves again, that of a muted command that is still there too.
    pub fn unmute(&mut self) {
        self.muted_from = None;
    }

    /// Forgets what was written while it was muted.
    pub fn drop_muted(&mut self) {
        if let Some(mark) = self.muted_from {
            self.output.truncate(mark);
        }
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

    /// Forgets all that has not been handed out: it will not be sent.
    pub fn abandon(&mut self) {
        self.muted_from = None;
        self.output = Output::default();
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
    }

    /// Chunks that wait or are under way.
    pub fn chunks(&self) -> usize {
        self.queue.len() + usize::from(self.is_sending)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, Reply};

    fn write(outbox: &mut Outbox, text: &str) {
        Reply::new(&mut outbox.output, Protocol::Two).simple(text);
    }

    fn next(outbox: &mut Outbox) -> Option<Vec<u8>> {
        let Chunk::Own(bytes) = outbox.next_chunk()? else { panic!("nothing is shared") };
        outbox.sent(Chunk::Own(bytes.clone()));
        Some(bytes)
    }

    #[test]
    fn the_memory_of_a_sent_chunk_serves_the_next_replies() {
        let mut outbox = Outbox::default();
        write(&mut outbox, &"a".repeat(1000));
        let Some(Chunk::Own(chunk)) = outbox.next_chunk() else { panic!("a chunk is there") };
        let address = chunk.as_ptr();
        outbox.sent(Chunk::Own(chunk));
        assert!(outbox.next_chunk().is_none(), "nothing was written since");
        write(&mut outbox, &"b".repeat(1000));
        let Some(Chunk::Own(chunk)) = outbox.next_chunk() else { panic!("a chunk is there") };
        assert_eq!(chunk.as_ptr(), address);
    }

    #[test]
    fn what_is_muted_does_not_leave() {
        let mut outbox = Outbox::default();
        write(&mut outbox, "a");
        outbox.mute();
        write(&mut outbox, "b");
        assert_eq!(next(&mut outbox), Some(b"+a\r\n".to_vec()));
        write(&mut outbox, "c");
        assert_eq!(next(&mut outbox), None);
        assert!(outbox.is_empty());
        write(&mut outbox, "d");
        outbox.mute();
        write(&mut outbox, "e");
        outbox.unmute();
        assert_eq!(next(&mut outbox), Some(b"+e\r\n".to_vec()));
    }
}
