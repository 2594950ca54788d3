//! The description of one command by COMMAND INFO.

use crate::exec::Entry;
use crate::resp::Reply;
use crate::spec::{Begin, Find, KeySpec};

/// Writes the ten values of COMMAND INFO: name, arity, flags, the key range (three values),
/// categories, tips, key specs, subcommands.
pub(super) fn write_info(reply: &mut Reply<'_>, entry: &Entry) {
    let card = &entry.command.card;
    let range = card.arg_range();
    reply.array(10);
    reply.bulk(entry.name.as_bytes());
    reply.integer(i64::from(card.arity));
    write_names(reply, card.flags.names().collect::<Vec<&str>>());
    reply.integer(range.first);
    reply.integer(range.last);
    reply.integer(range.step);
    write_names(
        reply,
        card.category_names().map(|name| format!("@{name}")).collect::<Vec<String>>(),
    );
    reply.set(card.tips.len());
    card.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(card.keys.len());
    card.keys.iter().for_each(|spec| write_spec(reply, spec));
    reply.array(entry.subcommands.len());
    entry.subcommands.iter().for_each(|subcommand| write_info(reply, subcommand));
}

/// Writes a set of names.
pub(super) fn write_names<S: AsRef<str>>(reply: &mut Reply<'_>, names: Vec<S>) {
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name.as_ref()));
}

fn write_spec(reply: &mut Reply<'_>, spec: &KeySpec) {
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(spec.notes.as_bytes());
    }
    reply.bulk(b"flags");
    let incomplete = (spec.incomplete_from != 0).then_some("incomplete");
    write_names(reply, spec.flag_names().chain(incomplete).collect::<Vec<&str>>());
    match spec.begin {
        Begin::Index(index) => {
            write_step(reply, "begin_search", "index", &[("index", i64::from(index))]);
        }
        Begin::Keyword { name, from, .. } => {
            begin_step(reply, "begin_search", "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(name.as_bytes());
            reply.bulk(b"startfrom");
            let shown = if spec.incomplete_from == 0 { from } else { spec.incomplete_from };
            reply.integer(i64::from(shown));
        }
        Begin::Option { .. } | Begin::Unknown => begin_step(reply, "begin_search", "unknown", 0),
    }
    match spec.find {
        Find::Range { last, step } => {
            let range = [("lastkey", i64::from(last)), ("keystep", i64::from(step)), ("limit", 0)];
            write_step(reply, "find_keys", "range", &range);
        }
        Find::Part { step, limit } => {
            let (step, limit) = (i64::from(step), i64::from(limit));
            let range = [("lastkey", -1), ("keystep", step), ("limit", limit)];
            write_step(reply, "find_keys", "range", &range);
        }
        Find::Count { at, first, step } => {
            let count = [("keynumidx", at), ("firstkey", first), ("keystep", step)];
            let count = count.map(|(name, number)| (name, i64::from(number)));
            write_step(reply, "find_keys", "keynum", &count);
        }
        Find::Unknown => begin_step(reply, "find_keys", "unknown", 0),
    }
}

/// Writes one step of a key spec: its name, its type, and the numbers that belong to the type.
fn write_step(reply: &mut Reply<'_>, name: &str, kind: &str, numbers: &[(&str, i64)]) {
    begin_step(reply, name, kind, numbers.len());
    for (key, number) in numbers {
        reply.bulk(key.as_bytes());
        reply.integer(*number);
    }
}

/// Begins one step of a key spec; the caller writes the `values` that follow.
fn begin_step(reply: &mut Reply<'_>, name: &str, kind: &str, values: usize) {
    reply.bulk(name.as_bytes());
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(values);
}
