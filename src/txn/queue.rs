//! Commands that wait to run together: the commands between MULTI and EXEC, or one command whose
//! keys must be gathered first. The queue owns their arguments.

use crate::exec::{BatchArgs, Entry, Item};
use crate::resp::{Args, Span};
use bytes::BytesMut;

/// Number of commands whose memory an empty queue keeps.
const KEPT_COMMANDS_MAX: usize = 64;

/// Bytes of text that an empty queue keeps.
const KEPT_TEXT_BYTES_MAX: usize = 4 << 10;

/// Commands with their arguments.
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
    /// Adds a command. Large arguments move here with their buffers.
    pub fn push(&mut self, entry: &'static Entry, slot: u16, db: u16, args: &mut Args<'_>) {
        let first = self.spans.len() as u32;
        for arg in 0..args.len() {
            match args.take_large(arg) {
                Some(large) => {
                    self.spans.push(Span::large(self.large.len(), large.len()));
                    self.large_bytes += large.len();
                    self.large.push(large);
                }
                None => {
                    self.spans.push(Span::text(self.text.len(), args[arg].len()));
                    self.text.extend_from_slice(&args[arg]);
                }
            }
        }
        let (argc, at) = (args.len() as u32, self.items.len() as u32);
        self.items.push(Item {
            entry,
            first,
            argc,
            slot,
            db,
            at,
            sees_due: false,
            is_quiet: false,
            is_tracked: false,
            is_asking: false,
            is_tls: false,
            is_on_port: false,
            is_part: false,
            discovers: false,
            is_counted: false,
            refused: None,
            user: 0,
        });
    }

    /// Creates a queue of one command. The spans of its arguments refer to `text` and `large`.
    pub fn with_one(item: Item, text: Vec<u8>, spans: Vec<Span>, large: Vec<BytesMut>) -> Queue {
        let large_bytes = large.iter().map(BytesMut::len).sum();
        Queue { items: vec![Item { at: 0, ..item }], text, spans, large, large_bytes }
    }

    /// Returns the number of arguments of all commands.
    pub fn args(&self) -> usize {
        self.spans.len()
    }

    /// Adds a command with the arguments `args`. The other fields are copied from `item`.
    pub fn push_args(&mut self, item: &Item, args: &[Box<[u8]>]) {
        let first = self.spans.len() as u32;
        for arg in args {
            self.spans.push(Span::text(self.text.len(), arg.len()));
            self.text.extend_from_slice(arg);
        }
        let (argc, at) = (args.len() as u32, self.items.len() as u32);
        self.items.push(Item { first, argc, at, ..*item });
    }

    /// Returns an argument of one of the commands.
    pub fn arg(&self, command: usize, arg: usize) -> &[u8] {
        let item = self.items[command];
        assert!(arg < item.argc as usize);
        let span = self.spans[item.first as usize + arg];
        match span.large_index() {
            Some(index) => &self.large[index],
            None => &self.text[span.start()..span.start() + span.len()],
        }
    }

    /// Returns the commands and their arguments separately.
    pub fn parts(&mut self) -> (&mut [Item], BatchArgs<'_>) {
        let batch_args = BatchArgs { text: &self.text, spans: &self.spans, large: &mut self.large };
        (&mut self.items, batch_args)
    }

    /// Returns the total bytes of the arguments.
    pub fn args_bytes(&self) -> usize {
        self.text.len() + self.large_bytes
    }

    /// Returns an upper bound of the bytes that the commands take on the wire.
    pub fn wire_bytes_max(&self) -> usize {
        // The encoding of an argument adds its length's digits and five bytes.
        self.args_bytes() + 16 * (self.spans.len() + self.items.len())
    }

    /// Returns whether an argument has its own buffer.
    pub fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Removes all commands and keeps a little memory.
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

    /// Returns the bytes of memory that the queue uses.
    pub fn memory_bytes(&self) -> usize {
        self.items.capacity() * size_of::<Item>()
            + self.spans.capacity() * size_of::<Span>()
            + self.text.capacity()
            + self.large_bytes
    }
}
