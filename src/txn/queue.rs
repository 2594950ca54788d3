//! Commands that wait to be run together: what MULTI queues until EXEC, or one command whose keys
//! have to be brought together first. Owns its words.

use crate::exec::{BatchArgs, Entry, Item};
use crate::resp::{Args, Span};
use bytes::BytesMut;

/// Commands that an empty queue keeps the memory of.
const KEPT_COMMANDS_MAX: usize = 64;

/// Bytes of text that an empty queue keeps the memory of.
const KEPT_TEXT_BYTES_MAX: usize = 4 << 10;

/// Commands with their words.
#[derive(Debug, Default)]
pub struct Queue {
    /// The commands, in order.
    pub items: Vec<Item>,
    text: Vec<u8>,
    spans: Vec<Span>,
    large: Vec<BytesMut>,
    large_bytes: usize,
}

impl Queue {
    /// Adds a command; large words move here with their buffers.
    pub fn push(&mut self, entry: &'static Entry, slot: u16, db: u16, args: &mut Args<'_>) {
        let first = self.spans.len() as u32;
        for word in 0..args.len() {
            match args.take_large(word) {
                Some(large) => {
                    self.spans.push(Span::large(self.large.len(), large.len()));
                    self.large_bytes += large.len();
                    self.large.push(large);
                }
                None => {
                    self.spans.push(Span::text(self.text.len(), args[word].len()));
                    self.text.extend_from_slice(&args[word]);
                }
            }
        }
        let (argc, at) = (args.len() as u32, self.items.len() as u32);
        let (sees_due, is_quiet, is_part) = (false, false, false);
        self.items.push(Item { entry, first, argc, slot, db, at, sees_due, is_quiet, is_part });
    }

    /// Adds a command of these words, like `item`.
    pub fn push_args(&mut self, item: &Item, args: &[Box<[u8]>]) {
        let first = self.spans.len() as u32;
        for word in args {
            self.spans.push(Span::text(self.text.len(), word.len()));
            self.text.extend_from_slice(word);
        }
        let (argc, at) = (args.len() as u32, self.items.len() as u32);
        self.items.push(Item { first, argc, at, ..*item });
    }

    /// A word of one of the commands.
    pub fn arg(&self, command: usize, arg: usize) -> &[u8] {
        let item = self.items[command];
        assert!(arg < item.argc as usize);
        let span = self.spans[item.first as usize + arg];
        match span.large_index() {
            Some(index) => &self.large[index],
            None => &self.text[span.start()..span.start() + span.len()],
        }
    }

    /// The commands and their words, side by side.
    pub fn parts(&mut self) -> (&mut [Item], BatchArgs<'_>) {
        let batch_args = BatchArgs { text: &self.text, spans: &self.spans, large: &mut self.large };
        (&mut self.items, batch_args)
    }

    /// Bytes of its words.
    pub fn args_bytes(&self) -> usize {
        self.text.len() + self.large_bytes
    }

    /// Bytes that its commands take on the wire, at most.
    pub fn wire_bytes_max(&self) -> usize {
        // A word's head takes no more than its number of digits and five.
        self.args_bytes() + 16 * (self.spans.len() + self.items.len())
    }

    /// Whether there are words with buffers of their own.
    pub fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Forgets all commands and keeps a little memory.
    pub fn clear(&mut self) {
        self.items.clear();
        self.text.clear();
        self.spans.clear();
        self.large.clear();
        self.large_bytes = 0;
        self.items.shrink_to(KEPT_COMMANDS_MAX);
        self.spans.shrink_to(KEPT_COMMANDS_MAX * 4);
        self.text.shrink_to(KEPT_TEXT_BYTES_MAX);
    }

    /// Bytes of memory that it holds.
    pub fn memory_bytes(&self) -> usize {
        self.items.capacity() * size_of::<Item>()
            + self.spans.capacity() * size_of::<Span>()
            + self.text.capacity()
            + self.large_bytes
    }
}
