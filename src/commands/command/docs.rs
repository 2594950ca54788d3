//! The description of one command by COMMAND DOCS.

use super::describe::write_names;
use crate::exec::Entry;
use crate::resp::Reply;
use crate::spec::{Arg, ArgKind, Card};

/// Writes the name, and a map of the documentation on the card.
pub(super) fn write_docs(reply: &mut Reply<'_>, entry: &Entry) {
    let card = &entry.command.card;
    let flags = doc_flags(card);
    let (deprecated, replaced_by) = card.deprecated.unwrap_or_default();
    let facts = [
        ("summary", card.summary),
        ("since", card.since),
        ("group", card.group.name()),
        ("complexity", card.complexity),
    ];
    let successor = [("deprecated_since", deprecated), ("replaced_by", replaced_by)];
    let lists = [flags.len(), card.history.len(), card.args.len(), entry.subcommands.len()];
    let lists = lists.into_iter().filter(|len| *len > 0).count();

    reply.bulk(entry.name.as_bytes());
    reply.map(count_texts(&facts) + count_texts(&successor) + lists);
    write_texts(reply, &facts);
    if !flags.is_empty() {
        reply.bulk(b"doc_flags");
        write_names(reply, flags);
    }
    write_texts(reply, &successor);
    if !card.history.is_empty() {
        reply.bulk(b"history");
        reply.set(card.history.len());
        for (version, change) in card.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !card.args.is_empty() {
        reply.bulk(b"arguments");
        write_args(reply, card.args);
    }
    if !entry.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(entry.subcommands.len());
        entry.subcommands.iter().for_each(|subcommand| write_docs(reply, subcommand));
    }
}

/// Returns the names of the documentation's flags.
fn doc_flags(card: &Card) -> Vec<&'static str> {
    let flags = [(card.deprecated.is_some(), "deprecated"), (card.is_internal, "syscmd")];
    flags.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect()
}

/// Writes an array with a map for each argument.
fn write_args(reply: &mut Reply<'_>, args: &[Arg]) {
    reply.array(args.len());
    args.iter().for_each(|arg| write_arg(reply, arg));
}

/// Writes a map. A group contains its arguments, and has no text of its own in the syntax.
fn write_arg(reply: &mut Reply<'_>, arg: &Arg) {
    let name = arg.full_name();
    let flags: Vec<&str> = arg.flag_names().collect();
    let is_group = arg.kind.is_group();
    let shown = match arg.shown {
        _ if is_group => "",
        "" => &name,
        shown => shown,
    };
    let head = [("name", &name[..]), ("type", arg.kind.name()), ("display_text", shown)];
    let has_keyword = arg.kind == ArgKind::Keyword || !arg.keyword.is_empty();
    let tail =
        [("summary", arg.summary), ("since", arg.since), ("deprecated_since", arg.deprecated)];
    let others = [arg.key_spec.is_some(), has_keyword, !flags.is_empty(), is_group];
    let others = others.into_iter().filter(|is_set| *is_set).count();

    reply.map(count_texts(&head) + count_texts(&tail) + others);
    write_texts(reply, &head);
    if let Some(index) = arg.key_spec {
        reply.bulk(b"key_spec_index");
        reply.integer(i64::from(index));
    }
    if has_keyword {
        reply.bulk(b"token");
        reply.bulk(arg.keyword.as_bytes());
    }
    write_texts(reply, &tail);
    if !flags.is_empty() {
        reply.bulk(b"flags");
        write_names(reply, flags);
    }
    if is_group {
        reply.bulk(b"arguments");
        write_parts(reply, arg.kind);
    }
}

/// Writes the arguments of a group.
fn write_parts(reply: &mut Reply<'_>, group: ArgKind) {
    match group {
        ArgKind::OneOf(parts) | ArgKind::Block(parts) => write_args(reply, parts),
        ArgKind::Choice(keywords) => {
            reply.array(keywords.len());
            keywords.iter().for_each(|keyword| write_arg(reply, &Arg::keyword(keyword)));
        }
        _ => unreachable!("only groups have parts"),
    }
}

/// Returns the number of texts that are not empty.
fn count_texts(texts: &[(&str, &str)]) -> usize {
    texts.iter().filter(|(_, text)| !text.is_empty()).count()
}

/// Writes each text that is not empty, after its name.
fn write_texts(reply: &mut Reply<'_>, texts: &[(&str, &str)]) {
    for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
}
