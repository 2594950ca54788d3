//! Keys as commands that create them: the base of an append-only file without a snapshot.
//!
//! ```text
//!   a piece of a cut --decoded value by value--.
//!   a value that a cut shares -----------------+--> commands --spill--> file
//! ```
//! The commands are those of the reference server, so each server loads the other's base. One
//! command has at most [`ITEMS_MAX`] elements, and the text is given away between two commands.

use crate::base::number::FloatText;
use crate::exec::LaterKey;
use crate::rdb::{Decoder, Dialect, Encoder, Entry, Fault, Limits, Part, Reading, Value};
use crate::value::hash::Hash;
use crate::value::list::List;
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::stream::{Group, Id, Stream};
use crate::value::string::IntText;
use crate::value::{Item, ObjectRef};
use bytes::Bytes;

/// Elements of a command at most.
const ITEMS_MAX: usize = 64;

/// Bytes of text from which on it is given away.
const SPILL_BYTES: usize = 64 << 10;

/// Takes text, and leaves an empty buffer.
type Spill<'s> = &'s mut dyn FnMut(&mut Vec<u8>);

/// Writes keys as commands.
#[derive(Debug)]
pub(super) struct CommandWriter {
    /// The limits of the values that are decoded on the way.
    limits: Limits,
    /// The database that the last command has used.
    selected: Option<usize>,
    text: Vec<u8>,
}

impl CommandWriter {
    pub fn new(limits: Limits) -> CommandWriter {
        CommandWriter { limits, selected: None, text: Vec::new() }
    }

    /// Writes the commands for encoded function libraries.
    pub fn libraries(&mut self, encoded: &[u8], spill: Spill<'_>) -> Result<(), Fault> {
        let mut decoder = Decoder::new(encoded, Dialect::Valkey);
        while !decoder.rest().is_empty() {
            if let Part::Function(code) = decoder.part()? {
                let code = code.into_bytes();
                self.command(&[b"FUNCTION", b"LOAD", &code]);
            }
        }
        spill(&mut self.text);
        Ok(())
    }

    /// Writes the commands for encoded keys. The first part may end with the length of a string
    /// whose bytes are the second part.
    pub fn keys(&mut self, [keys, behind]: &[Bytes; 2], spill: Spill<'_>) -> Result<(), Fault> {
        let mut db = 0;
        let mut decoder = Decoder::new(keys, Dialect::Valkey);
        match self.parts(&mut decoder, &mut db, spill) {
            Ok(()) => {
                let mut decoder = Decoder::new(behind, Dialect::Valkey);
                self.parts(&mut decoder, &mut db, spill)?;
            }
            Err(Fault::Ended) => {
                let (key, expiry, len) = decoder.string_ahead()?;
                if len != behind.len() as u64 || !decoder.rest().is_empty() {
                    return Err(Fault::Corrupt("a string without its bytes"));
                }
                let key = key.into_bytes();
                self.select(db);
                self.string(&key, behind, expiry, spill);
            }
            Err(fault) => return Err(fault),
        }
        spill(&mut self.text);
        Ok(())
    }

    /// Writes the commands for the whole parts that a decoder has.
    fn parts(
        &mut self,
        decoder: &mut Decoder<'_>,
        db: &mut usize,
        spill: Spill<'_>,
    ) -> Result<(), Fault> {
        while !decoder.rest().is_empty() {
            match decoder.part()? {
                Part::Database(number) => *db = number as usize,
                Part::Entry(entry) => self.entry(*db, entry, spill)?,
                Part::Aux(..) | Part::Sizes(..) | Part::Function(_) | Part::End(_) => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, db: usize, entry: Entry<'_>, spill: Spill<'_>) -> Result<(), Fault> {
        let reading = Reading { limits: &self.limits, due_before_ms: None };
        let value = reading.value(entry.form, entry.value)?;
        let key = entry.key.into_bytes();
        self.select(db);
        match value {
            Value::String(text) => {
                self.string(&key, text.bytes(&mut IntText::new()), entry.expiry, spill);
            }
            Value::Object(object) => self.object(&key, object.by_ref(), entry.expiry, spill),
        }
        Ok(())
    }

    /// Writes the commands for a value that is shared with its slice.
    pub fn shared(&mut self, it: &LaterKey, spill: Spill<'_>) {
        self.select(it.db);
        self.object(&it.key, it.value.by_ref(), it.expiry, spill);
        spill(&mut self.text);
    }

    fn select(&mut self, db: usize) {
        if self.selected.replace(db) != Some(db) {
            self.command(&[b"SELECT", itoa::Buffer::new().format(db).as_bytes()]);
        }
    }

    fn string(&mut self, key: &[u8], text: &[u8], expiry: Option<u64>, spill: Spill<'_>) {
        self.command(&[b"SET", key, text]);
        self.end_key(key, expiry, spill);
    }

    fn object(&mut self, key: &[u8], object: ObjectRef<'_>, expiry: Option<u64>, spill: Spill<'_>) {
        match object {
            ObjectRef::List(list) => self.list(key, list, spill),
            ObjectRef::Set(set) => self.set(key, set, spill),
            ObjectRef::SortedSet(set) => self.sorted_set(key, set, spill),
            ObjectRef::Hash(hash) => self.hash(key, hash, spill),
            ObjectRef::Stream(stream) => self.stream(key, stream, spill),
        }
        self.end_key(key, expiry, spill);
    }

    /// Ends the commands of a key.
    fn end_key(&mut self, key: &[u8], expiry: Option<u64>, spill: Spill<'_>) {
        if let Some(at) = expiry {
            self.command(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]);
        }
        self.spill(spill);
    }

    fn list(&mut self, key: &[u8], list: &List, spill: Spill<'_>) {
        for (at, item) in list.iter_from(0).enumerate() {
            self.begin_batch(b"RPUSH", key, (at, list.len(), 1), spill);
            self.item(&item);
        }
    }

    fn set(&mut self, key: &[u8], set: &Set, spill: Spill<'_>) {
        for (at, item) in set.iter().enumerate() {
            self.begin_batch(b"SADD", key, (at, set.len(), 1), spill);
            self.item(&item);
        }
    }

    fn sorted_set(&mut self, key: &[u8], set: &SortedSet, spill: Spill<'_>) {
        for (at, (member, score)) in set.iter_from(0).enumerate() {
            self.begin_batch(b"ZADD", key, (at, set.len(), 2), spill);
            self.arg(FloatText::with_17_digits(score).as_bytes());
            self.item(&member);
        }
    }

    fn hash(&mut self, key: &[u8], hash: &Hash, spill: Spill<'_>) {
        let lasting = hash.len() - hash.volatile_len();
        if hash.volatile_len() > 0 {
            for field in hash.iter() {
                let Some(at) = field.expiry else { continue };
                self.head(8, b"HSETEX", key);
                self.args(&[b"PXAT", itoa::Buffer::new().format(at).as_bytes(), b"FIELDS", b"1"]);
                self.item(&field.name);
                self.item(&field.value);
                self.spill(spill);
            }
        }
        for (at, field) in hash.iter().filter(|field| field.expiry.is_none()).enumerate() {
            self.begin_batch(b"HMSET", key, (at, lasting, 2), spill);
            self.item(&field.name);
            self.item(&field.value);
        }
    }

    fn stream(&mut self, key: &[u8], stream: &Stream, spill: Spill<'_>) {
        if stream.groups().any(|(_, group)| has_lost(stream, group)) {
            // No command makes an entry pending that is deleted already.
            let mut payload = Vec::new();
            Encoder::new(&mut payload, false).object_payload(ObjectRef::Stream(stream));
            return self.command(&[b"RESTORE", key, b"0", &payload]);
        }
        let log = stream.log();
        for entry in log.iter() {
            self.head(3 + 2 * entry.fields.len(), b"XADD", key);
            self.arg(entry.id.text().as_bytes());
            for (name, value) in entry.fields {
                self.item(&name);
                self.item(&value);
            }
            self.spill(spill);
        }
        if log.is_empty() {
            self.command(&[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
        }
        let (last, deleted) = (log.last_id().text(), log.max_deleted_id().text());
        self.head(7, b"XSETID", key);
        self.args(&[last.as_bytes(), b"ENTRIESADDED"]);
        self.args(&[itoa::Buffer::new().format(log.entries_added()).as_bytes(), b"MAXDELETEDID"]);
        self.arg(deleted.as_bytes());
        for (name, group) in stream.groups() {
            self.group(key, name, group, spill);
        }
    }

    fn group(&mut self, key: &[u8], name: &[u8], group: &Group, spill: Spill<'_>) {
        let read = group.entries_read.unwrap_or(-1);
        self.head(7, b"XGROUP", b"CREATE");
        self.args(&[key, name, group.last_id.text().as_bytes(), b"ENTRIESREAD"]);
        self.arg(itoa::Buffer::new().format(read).as_bytes());
        for consumer in group.consumers() {
            if consumer.pending() == 0 {
                self.command(&[b"XGROUP", b"CREATECONSUMER", key, name, &consumer.name]);
            }
            for id in consumer.ids_from(Id::MIN) {
                let pending = group.pending(id).expect("a consumer's entries are the group's");
                self.head(12, b"XCLAIM", key);
                self.args(&[name, &consumer.name, b"0", id.text().as_bytes(), b"TIME"]);
                self.arg(itoa::Buffer::new().format(pending.delivered_ms).as_bytes());
                self.arg(b"RETRYCOUNT");
                self.arg(itoa::Buffer::new().format(pending.deliveries).as_bytes());
                self.args(&[b"JUSTID", b"FORCE"]);
                self.spill(spill);
            }
        }
    }

    /// Begins the next command of a value if the last one is full. The value has `len` elements of
    /// `words` arguments each; `at` is the index of the next one.
    fn begin_batch(
        &mut self,
        name: &[u8],
        key: &[u8],
        (at, len, words): (usize, usize, usize),
        spill: Spill<'_>,
    ) {
        if at % ITEMS_MAX == 0 {
            self.spill(spill);
            self.head(2 + words * ITEMS_MAX.min(len - at), name, key);
        }
    }

    /// Gives the text away, if it is long.
    fn spill(&mut self, spill: Spill<'_>) {
        if self.text.len() >= SPILL_BYTES {
            spill(&mut self.text);
        }
    }

    fn command(&mut self, args: &[&[u8]]) {
        self.count(args.len());
        self.args(args);
    }

    /// Begins a command of a number of arguments, these two included.
    fn head(&mut self, argc: usize, name: &[u8], first: &[u8]) {
        self.count(argc);
        self.args(&[name, first]);
    }

    fn count(&mut self, argc: usize) {
        self.text.push(b'*');
        self.number_line(argc);
    }

    fn args(&mut self, args: &[&[u8]]) {
        args.iter().for_each(|arg| self.arg(arg));
    }

    fn item(&mut self, item: &Item<'_>) {
        self.arg(item.text(&mut IntText::new()));
    }

    fn arg(&mut self, arg: &[u8]) {
        self.text.push(b'$');
        self.number_line(arg.len());
        self.text.extend_from_slice(arg);
        self.text.extend_from_slice(b"\r\n");
    }

    fn number_line(&mut self, number: usize) {
        self.text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.text.extend_from_slice(b"\r\n");
    }
}

/// Returns whether an entry is pending that the stream does not have any more.
fn has_lost(stream: &Stream, group: &Group) -> bool {
    group.pending_from(Id::MIN).any(|(id, _)| stream.log().get(*id).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::value::{Container, hash};

    /// Returns the text that a writer has given away.
    fn text_of(write: impl FnOnce(&mut CommandWriter, Spill<'_>)) -> String {
        let mut writer = CommandWriter::new(Limits::of(&Config::default()));
        let mut text = Vec::new();
        write(&mut writer, &mut |bytes| text.append(bytes));
        String::from_utf8(text).expect("only text was written").replace("\r\n", " ")
    }

    /// Returns a piece of a cut, as commands.
    fn commands_of(encode: impl FnOnce(&mut Encoder<'_>), behind: &'static [u8]) -> String {
        let mut keys = Vec::new();
        encode(&mut Encoder::new(&mut keys, false));
        text_of(|writer, spill| {
            let parts = [keys.into(), Bytes::from_static(behind)];
            writer.keys(&parts, spill).expect("sound keys");
        })
    }

    #[test]
    fn a_piece_becomes_commands() {
        let mut fields = Hash::default();
        let limits = hash::Limits { listpack_entries: 8, listpack_value: 8 };
        fields.set(b"brief", b"v", Some(70_000), &limits);
        fields.set(b"f", b"12", None, &limits);
        let object = Box::new(fields).into_object();
        let encode = |encoder: &mut Encoder<'_>| {
            encoder.select(2);
            encoder.object_entry(b"h", None, object.by_ref());
            encoder.string_ahead(b"s", Some(90_000), 4);
        };
        let expected = "*2 $6 SELECT $1 2 \
            *8 $6 HSETEX $1 h $4 PXAT $5 70000 $6 FIELDS $1 1 $5 brief $1 v \
            *4 $5 HMSET $1 h $1 f $2 12 \
            *3 $3 SET $1 s $4 text *3 $9 PEXPIREAT $1 s $5 90000 ";
        assert_eq!(commands_of(encode, b"text"), expected);
    }

    #[test]
    fn a_string_without_its_bytes_is_a_fault() {
        let mut keys = Vec::new();
        Encoder::new(&mut keys, false).string_ahead(b"s", None, 4);
        let mut writer = CommandWriter::new(Limits::of(&Config::default()));
        let parts = [keys.into(), Bytes::from_static(b"tex")];
        assert!(writer.keys(&parts, &mut |_| {}).is_err());
    }
}
