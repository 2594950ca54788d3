//! Writes entries and ids into replies.

use crate::resp::Reply;
use crate::value::Item;
use crate::value::stream::{Entry, Id};

/// Writes an id as a bulk string.
pub(super) fn write_id(reply: &mut Reply<'_>, id: Id) {
    reply.bulk(id.text().as_bytes());
}

/// Writes an entry: its id, and an array of field names and values.
pub(super) fn write_entry(reply: &mut Reply<'_>, entry: Entry<'_>) {
    reply.array(2);
    write_id(reply, entry.id);
    reply.array(2 * entry.fields.len());
    for (name, value) in entry.fields {
        write_item(reply, &name);
        write_item(reply, &value);
    }
}

fn write_item(reply: &mut Reply<'_>, item: &Item<'_>) {
    match *item {
        Item::Int(number) => reply.integer_bulk(number),
        Item::Bytes(text) => reply.bulk(text),
    }
}

/// Writes an array of at most `count` entries; 0 means all.
pub(super) fn write_entries<'a>(
    reply: &mut Reply<'_>,
    entries: impl Iterator<Item = Entry<'a>>,
    count: u64,
) {
    let start = reply.mark();
    let mut written = 0;
    for entry in entries.take(limit(count)) {
        write_entry(reply, entry);
        written += 1;
    }
    reply.array_since(start, written);
}

/// Returns `count` as a limit; 0 means no limit.
pub(super) fn limit(count: u64) -> usize {
    if count == 0 { usize::MAX } else { count as usize }
}
