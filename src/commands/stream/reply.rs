//! Entries and ids in replies.

use crate::resp::Reply;
use crate::value::Item;
use crate::value::stream::{Entry, Id};

/// An id, as a string.
pub(super) fn write_id(reply: &mut Reply<'_>, id: Id) {
    reply.bulk(id.text().as_bytes());
}

/// An entry: its id, and an array of names and values.
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

/// Entries as an array, at most `count` of them where that is not 0.
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

/// How many that is, where 0 means all.
pub(super) fn limit(count: u64) -> usize {
    if count == 0 { usize::MAX } else { count as usize }
}
