//! What running commands leaves for the feed: the commands that a replica has to run to end with
//! the same keys and values. Made only while somebody reads the feed.
//!
//! A write's own words are recorded before it runs, for it may take them; they are dropped again
//! when it changed nothing, or replaced by what its handler says.
//!
//! ```text
//!   bytes   $3 SET $1 k $1 v | $6 UNLINK $1 e | ...        words as bulk strings, no array header
//!   list    one record for each command: where its bytes are, its database, its place
//! ```
//! Keys that fell due while a command ran come before it in the list, though their bytes may lie
//! behind its own.

use crate::keyspace::Expired;
use crate::resp::Args;
use std::ops::Range;

/// How the parts that several shards recorded of one command become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glue {
    /// It has no other parts.
    Alone,
    /// Each part has the command's name and words of its own: the name once, then all words.
    Joined,
    /// All parts are the same: one stands for all.
    Once,
    /// It has no other parts, and is a unit of its own: keys that a walk over all keys found due.
    Apart,
    /// The same for what a client's command leaves that waited, and was woken by the command at
    /// this place: which one of those woken it is.
    Woken(u32),
}

/// One command for the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Place of the command that left it, among the commands of its batch or transaction.
    pub at: u32,
    /// The database that it runs in.
    pub db: u16,
    /// What becomes of parts.
    pub glue: Glue,
    /// How many words it has.
    pub words: u32,
    /// Bytes of its first word, as it is encoded.
    pub head_len: u32,
    /// Where its bytes are.
    pub bytes: Range<usize>,
}

/// The commands that a batch, or a part of one, leaves for the feed.
#[derive(Debug, Default)]
pub struct Records {
    list: Vec<Record>,
    bytes: Vec<u8>,
    /// The command that runs now.
    own: Own,
    /// Where its records begin.
    own_first: usize,
    at: u32,
    glue: Option<Glue>,
}

/// What is known of the running command's own record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Own {
    /// There is none: it does not write, or its handler has said what takes its place.
    #[default]
    None,
    /// It is the last in the list, and goes again if nothing changes.
    Tentative,
    /// It is the last in the list.
    Kept,
}

impl Records {
    /// A command is about to run; `args` are given if it may write.
    pub(super) fn begin(&mut self, at: u32, db: usize, glue: Glue, args: Option<&Args<'_>>) {
        self.at = at;
        self.glue = Some(glue);
        self.own = Own::None;
        self.own_first = self.list.len();
        if let Some(args) = args {
            self.push(db, args.len(), args.iter_from(0));
            self.own = Own::Tentative;
        }
    }

    /// The command has run. `expired` is what fell due meanwhile.
    pub(super) fn end(
        &mut self,
        has_changed: bool,
        expire_word: &[u8],
        expired: impl Iterator<Item = Expired>,
    ) {
        if self.own == Own::Tentative && !has_changed {
            self.drop_own();
        }
        let own = self.list.split_off(self.own_first);
        self.glue = match self.glue {
            Some(Glue::Once) if own.is_empty() => Some(Glue::Apart),
            Some(Glue::Woken(number)) => Some(Glue::Woken(number)),
            _ => Some(Glue::Alone),
        };
        for gone in expired {
            self.push_expired(expire_word, &gone);
        }
        self.list.extend(own);
        self.own = Own::None;
    }

    /// A command that no client's command led to.
    pub fn add(&mut self, at: u32, db: usize, words: &[&[u8]]) {
        self.at = at;
        self.glue = Some(Glue::Apart);
        self.push(db, words.len(), words.iter().copied());
    }

    /// The same, for what fell due.
    pub fn add_expired(&mut self, at: u32, expire_word: &[u8], gone: &Expired) {
        self.at = at;
        self.glue = Some(Glue::Apart);
        self.push_expired(expire_word, gone);
    }

    /// `expire_word` is the command by which the feed is told of a key.
    fn push_expired(&mut self, expire_word: &[u8], gone: &Expired) {
        let db = usize::from(gone.db);
        match &gone.fields {
            None => self.push(db, 2, [expire_word, &gone.key].into_iter()),
            Some(fields) => {
                let words = [b"HDEL", &*gone.key].into_iter();
                let all = words.chain(fields.iter().map(|field| &**field));
                self.push(db, 2 + fields.len(), all);
            }
        }
    }

    pub(super) fn replace(&mut self, db: usize, words: &[&[u8]]) {
        self.drop_own();
        self.push(db, words.len(), words.iter().copied());
    }

    pub(super) fn drop_own(&mut self) {
        if self.own != Own::None {
            let own = self.list.pop().expect("its own record is the last");
            self.bytes.truncate(own.bytes.start);
        }
        self.own = Own::None;
    }

    pub(super) fn keep_own(&mut self) {
        if self.own == Own::Tentative {
            self.own = Own::Kept;
        }
    }

    fn push<'w>(&mut self, db: usize, words: usize, all: impl Iterator<Item = &'w [u8]>) {
        let start = self.bytes.len();
        let mut head_len = 0;
        for word in all {
            let mut digits = itoa::Buffer::new();
            self.bytes.push(b'$');
            self.bytes.extend_from_slice(digits.format(word.len()).as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
            self.bytes.extend_from_slice(word);
            self.bytes.extend_from_slice(b"\r\n");
            if head_len == 0 {
                head_len = self.bytes.len() - start;
            }
        }
        self.list.push(Record {
            at: self.at,
            db: db as u16,
            glue: self.glue.unwrap_or(Glue::Alone),
            words: words as u32,
            head_len: head_len as u32,
            bytes: start..self.bytes.len(),
        });
    }

    /// Takes over what another has, behind its own.
    pub fn absorb(&mut self, other: &mut Records) {
        let start = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.list.extend(other.list.drain(..).map(|mut record| {
            record.bytes = record.bytes.start + start..record.bytes.end + start;
            record
        }));
    }

    /// The commands, in the order in which they are to run.
    pub fn list(&self) -> &[Record] {
        &self.list
    }

    /// The encoded words of one of them.
    pub fn bytes(&self, record: &Record) -> &[u8] {
        &self.bytes[record.bytes.clone()]
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets everything and keeps a little memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
        self.bytes.shrink_to(64 << 10);
    }
}
