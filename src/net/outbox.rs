//! Output of a connection: collects replies and sends them once per turn.
//!
//! ```text
//!   replies -> output --drain-> queue -> one chunk in progress -> sent, its memory is reused
//! ```
//! The output becomes a chunk when it is to be sent, and when it is long: what is there never moves
//! again. While replies are held, all that precedes them is in the queue, and the output stays.

use crate::io::Chunk;
use crate::resp::{Mark, Output, Piece};
use std::collections::VecDeque;

/// Bytes of output from which on it becomes a chunk before it is sent.
const CHUNK_BYTES: usize = 256 << 10;

/// Number of chunks from which on the memory of the next one is reserved at once.
const PILE_CHUNKS_MIN: usize = 4;

/// Bytes of further memory for the last replies of a chunk.
const CHUNK_ROOM_BYTES: usize = 32 << 10;

/// Replies of a connection that are not sent completely.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Where commands write replies.
    pub output: Output,
    /// Everything written after this mark is discarded, not sent.
    muted_from: Option<Mark>,
    queue: VecDeque<Chunk>,
    queued_bytes: usize,
    under_way_bytes: usize,
    is_sending: bool,
    /// Whether the output must not be sent yet.
    is_held: bool,
    /// Groups of chunks that wait for positions: their numbers, and the positions. In the queue
    /// they are behind the first `free` chunks.
    gates: VecDeque<(usize, u64)>,
    /// Number of chunks that wait for positions.
    gated: usize,
    /// Number of chunks that have waited and may be sent.
    free: usize,
}

/// Returns the bytes of a chunk.
fn chunk_bytes(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Own(bytes) => bytes.len(),
        Chunk::Shared(bytes) => bytes.len(),
    }
}

impl Outbox {
    /// Returns the next chunk for the driver; none if a chunk is in progress or there is nothing to
    /// send.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        if self.is_sending {
            return None;
        }
        self.drop_muted();
        if self.queue.is_empty() && !self.is_held {
            self.queue_output();
        }
        if self.gated > 0 && self.free == 0 {
            return None;
        }
        let chunk = self.queue.pop_front()?;
        self.free = self.free.saturating_sub(1);
        self.queued_bytes -= chunk_bytes(&chunk);
        self.under_way_bytes = chunk_bytes(&chunk);
        self.is_sending = true;
        Some(chunk)
    }

    /// Moves the output into the queue.
    fn queue_output(&mut self) {
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

    /// Makes the output that waits for no position yet wait until [`Outbox::open`] passes
    /// `position`. Held replies stay. Returns whether anything waits.
    pub fn gate(&mut self, position: u64) -> bool {
        self.drop_muted();
        if !self.is_held {
            self.queue_output();
        }
        let new = self.queue.len() - self.gated - self.free;
        if new > 0 {
            self.gates.push_back((new, position));
            self.gated += new;
        }
        self.gated > 0
    }

    /// Lets chunks be sent whose positions are below `reached`. Must be called after
    /// [`Outbox::gate`].
    pub fn open(&mut self, reached: u64) {
        while let Some(&(chunks, position)) = self.gates.front()
            && position < reached
        {
            self.gates.pop_front();
            self.gated -= chunks;
            self.free += chunks;
        }
    }

    /// Returns the first position that chunks wait for.
    pub fn waits_for(&self) -> Option<u64> {
        self.gates.front().map(|(_, position)| *position)
    }

    /// Makes a chunk of a long output, so that it need not grow in place. Must be called between
    /// replies.
    #[inline]
    pub fn cut(&mut self) {
        if self.output.len() >= CHUNK_BYTES && !self.is_held {
            self.cut_long();
        }
    }

    #[cold]
    fn cut_long(&mut self) {
        self.drop_muted();
        self.queue_output();
        if self.queue.len() >= PILE_CHUNKS_MIN {
            self.output.reserve(CHUNK_BYTES + CHUNK_ROOM_BYTES);
        }
    }

    /// Holds everything that is written after `mark` until [`Outbox::release`].
    pub fn hold(&mut self, mark: Mark) {
        if self.is_held {
            return;
        }
        // A muted period begins before the held replies, or not at all.
        let held = self.output.split_off(mark);
        self.drop_muted();
        self.queue_output();
        self.output = held;
        self.is_held = true;
    }

    /// Lets held replies be sent.
    pub fn release(&mut self) {
        self.is_held = false;
    }

    /// Starts to discard everything that is written from now on. Output of an earlier muted period
    /// is discarded at once.
    pub fn mute(&mut self) {
        self.drop_muted();
        self.muted_from = Some(self.output.mark());
    }

    /// Sends further output again, including muted output that was not discarded yet.
    pub fn unmute(&mut self) {
        self.muted_from = None;
    }

    /// Appends a push, which is sent even while replies are muted. Must be called between replies.
    pub fn push(&mut self, push: &Output) {
        self.drop_muted();
        self.output.append_range(push, 0..push.mark().offset());
        self.muted_from = self.muted_from.map(|_| self.output.mark());
    }

    /// Adds a push like [`Outbox::push`], but ahead of replies that are held.
    pub fn push_ahead(&mut self, push: &Output) {
        if !self.is_held {
            return self.push(push);
        }
        let bytes = push.to_vec();
        self.queued_bytes += bytes.len();
        self.queue.push_back(Chunk::Own(bytes));
    }

    /// Discards the output that was written while muted.
    pub fn drop_muted(&mut self) {
        if let Some(mark) = self.muted_from {
            self.output.truncate(mark);
        }
    }

    /// Records that the chunk in progress is finished. Keeps its memory for the next replies.
    pub fn sent(&mut self, chunk: Chunk) {
        assert!(self.is_sending, "one chunk is under way");
        self.is_sending = false;
        self.under_way_bytes = 0;
        if let Chunk::Own(bytes) = chunk {
            self.output.reuse(bytes);
        }
        self.output.trim();
    }

    /// Discards everything that was not passed to the driver.
    pub fn abandon(&mut self) {
        self.muted_from = None;
        self.output = Output::default();
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        self.is_held = false;
        self.gates.clear();
        (self.gated, self.free) = (0, 0);
    }

    /// Returns the number of chunks that wait or are in progress.
    pub fn chunks(&self) -> usize {
        self.queue.len() + usize::from(self.is_sending)
    }

    /// Returns the bytes of the chunk in progress.
    pub fn under_way_bytes(&self) -> usize {
        self.under_way_bytes
    }

    /// Releases the output buffer's memory if it is empty.
    pub fn shrink(&mut self) {
        self.output.shrink();
    }

    /// Returns whether a chunk is in progress.
    pub fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Returns whether nothing waits and no chunk is in progress.
    pub fn is_empty(&self) -> bool {
        !self.is_sending && self.queue.is_empty() && self.output.is_empty()
    }

    /// Returns the number of bytes that were not sent yet.
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

    #[test]
    fn a_push_leaves_although_replies_are_muted() {
        let mut outbox = Outbox::default();
        let mut push = Output::default();
        Reply::new(&mut push, Protocol::Two).simple("push");
        outbox.mute();
        write(&mut outbox, "a");
        outbox.push(&push);
        write(&mut outbox, "b");
        assert_eq!(next(&mut outbox), Some(b"+push\r\n".to_vec()));
        outbox.unmute();
        outbox.push(&push);
        assert_eq!(next(&mut outbox), Some(b"+push\r\n".to_vec()));
    }

    #[test]
    fn held_replies_wait_and_earlier_ones_do_not() {
        let mut outbox = Outbox::default();
        write(&mut outbox, "a");
        let mark = outbox.output.mark();
        Reply::new(&mut outbox.output, Protocol::Two).bulk_shared(vec![b'x'; 20_000].into());
        outbox.hold(mark);
        assert_eq!(next(&mut outbox), Some(b"+a\r\n".to_vec()));
        write(&mut outbox, "b");
        assert_eq!(next(&mut outbox), None);
        assert!(!outbox.is_empty());
        let mut push = Output::default();
        Reply::new(&mut push, Protocol::Two).simple("push");
        outbox.push_ahead(&push);
        assert_eq!(next(&mut outbox), Some(b"+push\r\n".to_vec()));
        outbox.release();
        assert_eq!(next(&mut outbox), Some(b"$20000\r\n".to_vec()));
        let Some(Chunk::Shared(value)) = outbox.next_chunk() else { panic!("the value is shared") };
        assert_eq!(value.len(), 20_000);
        outbox.sent(Chunk::Shared(value));
        assert_eq!(next(&mut outbox), Some(b"\r\n+b\r\n".to_vec()));
        assert!(outbox.is_empty());
    }

    #[test]
    fn output_waits_for_its_position() {
        let mut outbox = Outbox::default();
        write(&mut outbox, "a");
        assert!(outbox.gate(5));
        assert_eq!(next(&mut outbox), None);
        write(&mut outbox, "b");
        outbox.gate(7);
        outbox.open(5);
        assert_eq!(next(&mut outbox), None, "the position must be passed");
        outbox.open(6);
        write(&mut outbox, "c");
        outbox.gate(9);
        assert_eq!(next(&mut outbox), Some(b"+a\r\n".to_vec()));
        assert_eq!((next(&mut outbox), outbox.waits_for()), (None, Some(7)));
        outbox.open(u64::MAX);
        assert_eq!(next(&mut outbox), Some(b"+b\r\n".to_vec()));
        assert_eq!(next(&mut outbox), Some(b"+c\r\n".to_vec()));
        assert!(outbox.is_empty() && !outbox.gate(10));
        write(&mut outbox, "d");
        assert_eq!(next(&mut outbox), Some(b"+d\r\n".to_vec()));
    }

    #[test]
    fn long_output_becomes_chunks_that_do_not_move() {
        let mut outbox = Outbox::default();
        let text = "x".repeat(1_000);
        for _ in 0..2_000 {
            write(&mut outbox, &text);
            outbox.cut();
        }
        assert!(outbox.chunks() >= 7, "{}", outbox.chunks());
        assert!(outbox.output.memory_bytes() <= 2 * CHUNK_BYTES);
        assert_eq!(outbox.pending_bytes(), 2_000 * 1_003);
        let mut sent = 0;
        while let Some(bytes) = next(&mut outbox) {
            assert!(bytes.len() < CHUNK_BYTES + 2 * text.len());
            sent += bytes.len();
        }
        assert_eq!(sent, 2_000 * 1_003);
    }
}
