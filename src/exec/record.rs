//! Commands for the feed: a replica that runs them gets the same keys and values. Recorded only
//! while the feed has readers.
//!
//! A write's own arguments are recorded before it runs, because it may take them. If the write
//! changed nothing, the record is dropped. If the handler propagates other commands, these replace
//! it.
//!
//! ```text
//!   bytes   $3 SET $1 k $1 v | $6 UNLINK $1 e | ...  arguments, no array header
//!   list    one record for each command: location of its bytes, database, index
//! ```
//! Keys that expired while a command ran come before the command in the list. Their bytes may be
//! behind the command's bytes.

use crate::keyspace::Expired;
use crate::resp::Args;
use std::ops::Range;

/// Bytes of memory that each list of emptied records keeps for reuse.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// How the parts that several shards recorded for one command are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glue {
    /// The command has no other parts.
    Alone,
    /// Each part has the command's name and own arguments: the name once, then the arguments of all
    /// parts.
    Joined,
    /// All parts are equal. One part stands for all.
    Once,
    /// The command has no other parts and is its own unit: a walk over all keys found expired keys.
    Apart,
    /// A blocked client's command left the record, after the command at this index unblocked the
    /// client. The records of one client are their own unit. Holds the client's number among the
    /// clients that the command unblocked.
    Woken(u32),
    /// No command: the feed drops the unit. The process stops and has ended a script of the unit,
    /// so that the unit is not whole.
    Void,
}

/// One command for the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index of the command that left the record, in its batch or transaction.
    pub at: u32,
    /// Database of the command.
    pub db: u16,
    /// How parts are combined.
    pub glue: Glue,
    /// Number of arguments, including the command's name.
    pub words: u32,
    /// Encoded bytes of the first argument.
    pub head_len: u32,
    /// Location of its bytes.
    pub bytes: Range<usize>,
}

/// The commands that a batch, or a part of a batch, leaves for the feed.
#[derive(Debug, Default)]
pub struct Records {
    list: Vec<Record>,
    bytes: Vec<u8>,
    /// State of the running command's own record.
    own: Own,
    /// Index of the running command's first record.
    own_first: usize,
    at: u32,
    glue: Option<Glue>,
    /// Whether keys or fields have expired.
    has_expired: bool,
}

/// State of the running command's own record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Own {
    /// No own record: the command does not write, or its handler has replaced the record.
    #[default]
    None,
    /// The own record is the last in the list. It is dropped if nothing changes.
    Tentative,
    /// The own record is the last in the list and stays.
    Kept,
}

impl Records {
    /// Begins a command. `args` are given if the command may write.
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

    /// Ends a command. `expired` are the keys and fields that expired while it ran.
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

    /// Adds a command that no client's command caused.
    pub fn add(&mut self, at: u32, db: usize, args: &[&[u8]]) {
        self.at = at;
        self.glue = Some(Glue::Apart);
        self.push(db, args.len(), args.iter().copied());
    }

    /// Adds an expired key, or the expired fields of a key, that no client's command accessed.
    pub fn add_expired(&mut self, at: u32, expire_word: &[u8], gone: &Expired) {
        self.at = at;
        self.glue = Some(Glue::Apart);
        self.push_expired(expire_word, gone);
    }

    /// Adds an expired key or expired fields. `expire_word` is the command that propagates a key.
    fn push_expired(&mut self, expire_word: &[u8], gone: &Expired) {
        let db = usize::from(gone.db);
        self.has_expired = true;
        match &gone.fields {
            None => self.push(db, 2, [expire_word, &gone.key].into_iter()),
            Some(fields) => {
                let args = [b"HDEL", &*gone.key].into_iter();
                let all = args.chain(fields.iter().map(|field| &**field));
                self.push(db, 2 + fields.len(), all);
            }
        }
    }

    pub(super) fn replace(&mut self, db: usize, args: &[&[u8]]) {
        self.drop_own();
        self.push(db, args.len(), args.iter().copied());
    }

    pub(super) fn drop_own(&mut self) {
        if self.own != Own::None {
            let own = self.list.pop().expect("the own record is the last");
            self.bytes.truncate(own.bytes.start);
        }
        self.own = Own::None;
    }

    pub(super) fn keep_own(&mut self) {
        if self.own == Own::Tentative {
            self.own = Own::Kept;
        }
    }

    fn push<'a>(&mut self, db: usize, argc: usize, all: impl Iterator<Item = &'a [u8]>) {
        let start = self.bytes.len();
        let mut head_len = 0;
        for arg in all {
            let mut digits = itoa::Buffer::new();
            self.bytes.push(b'$');
            self.bytes.extend_from_slice(digits.format(arg.len()).as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
            self.bytes.extend_from_slice(arg);
            self.bytes.extend_from_slice(b"\r\n");
            if head_len == 0 {
                head_len = self.bytes.len() - start;
            }
        }
        self.list.push(Record {
            at: self.at,
            db: db as u16,
            glue: self.glue.unwrap_or(Glue::Alone),
            words: argc as u32,
            head_len: head_len as u32,
            bytes: start..self.bytes.len(),
        });
    }

    /// Moves the records of another collection behind its own.
    pub fn absorb(&mut self, other: &mut Records) {
        let start = self.bytes.len();
        self.has_expired |= std::mem::take(&mut other.has_expired);
        self.bytes.append(&mut other.bytes);
        self.list.extend(other.list.drain(..).map(|mut record| {
            record.bytes = record.bytes.start + start..record.bytes.end + start;
            record
        }));
    }

    /// Returns the commands in the order in which a replica must run them.
    pub fn list(&self) -> &[Record] {
        &self.list
    }

    /// Returns the encoded arguments of one record.
    pub fn bytes(&self, record: &Record) -> &[u8] {
        &self.bytes[record.bytes.clone()]
    }

    /// Takes the encoded arguments of all records. The records must then be cleared.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Returns whether there are records of keys or fields that have expired.
    pub fn has_expired(&self) -> bool {
        self.has_expired
    }

    /// Returns whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Makes the feed drop the unit.
    pub(super) fn void(&mut self) {
        let end = self.bytes.len();
        let (at, glue, bytes) = (self.at, Glue::Void, end..end);
        self.list.push(Record { at, db: 0, glue, words: 0, head_len: 0, bytes });
    }

    /// Removes all records and keeps at most [`KEPT_BYTES_MAX`] bytes of memory in each list.
    pub fn clear(&mut self) {
        self.has_expired = false;
        self.list.clear();
        self.list.shrink_to(KEPT_BYTES_MAX / size_of::<Record>());
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_records_keep_bounded_memory() {
        let mut records = Records::default();
        for _ in 0..20_000 {
            records.push(0, 1, [&b"an argument"[..]].into_iter());
        }
        records.clear();
        assert!(records.list.capacity() * size_of::<Record>() <= KEPT_BYTES_MAX);
        assert!(records.bytes.capacity() <= KEPT_BYTES_MAX);
    }
}
