//! `tuning/settings.md`: every directive and its effect, generated from the cards.

use super::card::{Kind, Setting, Store};
use super::load::SKIPPED;
use super::settings;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/settings.md");

/// If this environment variable is set, the test writes the file.
const WRITE: &str = "ANNULET_WRITE";

const HEAD: &str = "\
# Settings

A `redis.conf` or `valkey.conf` starts the server unchanged. Every directive of Valkey 9.1 and of
Redis 8.0 is listed here. \"Not yet\" names the missing part. The value of a setting without
effect is kept, shown and written back. An unknown directive stops the start.

This page is generated from the cards in `src/config`:
`ANNULET_WRITE=1 cargo test --lib config::table`.

| setting | takes | default | CONFIG SET | effect |
| --- | --- | --- | --- | --- |
";

const OTHERS: &str = "
## Directives that are no settings

| directive | effect |
| --- | --- |
| `include FILE` | works; the name may be a pattern |
| `rename-command OLD NEW` | works; an empty new name removes the command |
| `user NAME RULE ...` | works; see also `aclfile` |
| `loadmodule FILE ...` | refused: there are no modules |
| `sentinel ...` | refused: there is no sentinel mode |

## Directives of other versions

The server skips them in a file; CONFIG does not know them.

| directive | why |
| --- | --- |
";

fn text() -> String {
    let mut text = HEAD.to_string();
    let mut cards: Vec<&Setting> = settings().collect();
    cards.sort_by_key(|card| card.name);
    for card in cards {
        let alias = match card.alias {
            "" => String::new(),
            alias => format!(", `{alias}`"),
        };
        let default = match card.default {
            "" => "none".to_string(),
            default => format!("`{default}`"),
        };
        let when = match (card.is_immutable(), card.protected) {
            (true, _) => "no",
            (_, true) => "protected",
            _ => "yes",
        };
        let (name, takes, effect) = (card.name, takes(card.kind), effect(card));
        writeln!(text, "| `{name}`{alias} | {takes} | {default} | {when} | {effect} |").unwrap();
    }
    text.push_str(OTHERS);
    for (name, why) in SKIPPED {
        writeln!(text, "| `{name}` | {why} |").unwrap();
    }
    text
}

fn takes(kind: Kind) -> String {
    let range = |min: i128, max: i128| match max {
        max if max == i128::from(i32::MAX) => format!("{min} to 2^31-1"),
        max if max == i128::from(u32::MAX) => format!("{min} to 2^32-1"),
        max if max == i128::from(i64::MAX) => format!("{min} to 2^63-1"),
        max if max == i128::from(u64::MAX) => format!("{min} to 2^64-1"),
        max => format!("{min} to {max}"),
    };
    match kind {
        Kind::Bool => "yes, no".to_string(),
        Kind::Int(min, max) if min == i128::from(i32::MIN) => range(-(1 << 31), max),
        Kind::Int(min, max) => range(min, max),
        Kind::Octal(min, max) => format!("octal, {min:o} to {max:o}"),
        Kind::Memory(min, max) => format!("bytes, {}", range(min, max)),
        Kind::SignedMemory(min, max) => format!("bytes, {}", range(min, max)),
        Kind::MemoryOrPercent(max) => format!("bytes, {}, or 0% to 100%", range(0, max)),
        Kind::Choice(words) => words.join(", "),
        Kind::Text(_) => "text".to_string(),
        Kind::Directory => "a folder".to_string(),
        Kind::Words(_) => "arguments".to_string(),
    }
}

fn effect(card: &Setting) -> String {
    let refused = if card.refusal.is_empty() { "" } else { "; other values are refused" };
    match card.without_effect() {
        None if matches!(card.store, Store::Field { .. }) => "works".to_string(),
        None => unreachable!("a setting without a field has a reason"),
        Some(why) if why.starts_with("not yet") => format!("{why}{refused}"),
        Some(why) => format!("accepted, without effect: {why}{refused}"),
    }
}

#[test]
fn the_page_matches_the_cards() {
    let text = text();
    if std::env::var_os(WRITE).is_some() {
        fs::write(Path::new(FILE), &text).unwrap();
    }
    let page = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        page == text,
        "{FILE} is outdated: {WRITE}=1 cargo test --lib config::table updates it"
    );
}
