//! The filters of CLIENT LIST and CLIENT KILL from their words.

use crate::base::number::parse_i64;
use crate::exec::{
    CLIENT_CAPABILITIES, CLIENT_FLAGS, ClientFilter, ClientKind, SessionContext, Traits,
};
use crate::resp::{Args, Error};

/// The filter that the words from the third on make up, and what SKIPME said.
pub(super) fn read_filter(
    cx: &SessionContext<'_>,
    args: &Args<'_>,
) -> Result<(ClientFilter, Option<bool>), Error> {
    let mut filter = ClientFilter::default();
    let mut skip_me = None;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let word = word.to_ascii_lowercase();
        let (traits, name) = match word.strip_prefix(b"not-") {
            Some(name) => (&mut filter.without, name),
            None => (&mut filter.with, &word[..]),
        };
        if name == b"id" {
            at = read_ids(args, at + 1, traits.ids.get_or_insert_default())?;
            continue;
        }
        let value = args.get(at + 1).ok_or(Error::Syntax)?;
        match &word[..] {
            b"maxage" => filter.age_min_s = Some(read_seconds("maxage", value)?),
            b"idle" => filter.idle_min_s = Some(read_seconds("idle", value)?),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => skip_me = Some(true),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => skip_me = Some(false),
            _ => read_trait(cx, traits, &word, name, value)?,
        }
        at += 2;
    }
    Ok((filter, skip_me))
}

/// Reads ids up to the first word that is no number; returns where that is.
fn read_ids(args: &Args<'_>, mut at: usize, ids: &mut Vec<u64>) -> Result<usize, Error> {
    while let Some(id) = args.get(at).and_then(parse_i64) {
        if id < 1 {
            return Err(Error::other("ERR client-id should be greater than 0"));
        }
        ids.push(id as u64);
        at += 1;
    }
    Ok(at)
}

fn read_seconds(name: &str, value: &[u8]) -> Result<u64, Error> {
    match parse_i64(value) {
        None => Err(Error::other(format!("ERR {name} is not an integer or out of range"))),
        Some(seconds) if seconds > 0 => Ok(seconds as u64),
        Some(_) => Err(Error::other(format!("ERR {name} should be greater than 0"))),
    }
}

/// Reads one trait; `word` is its `name`, or that with `not-` before it.
fn read_trait(
    cx: &SessionContext<'_>,
    traits: &mut Traits,
    word: &[u8],
    name: &[u8],
    value: &[u8],
) -> Result<(), Error> {
    let text = Some(value.to_vec());
    match name {
        b"type" => traits.kind = Some(read_kind(value)?),
        b"addr" => traits.address = text,
        b"laddr" => traits.local_address = text,
        b"ip" => traits.ip = text,
        b"user" if value == b"default" => traits.user = text,
        b"user" => return Err(Error::quoting(&[b"ERR No such user '", value, b"'"])),
        b"flags" => {
            check_letters(CLIENT_FLAGS, word, name, value)?;
            traits.flags = text;
        }
        b"capa" => {
            check_letters(CLIENT_CAPABILITIES, word, name, value)?;
            traits.capabilities = text;
        }
        b"name" => traits.name = text,
        b"lib-name" => traits.lib_name = text,
        b"lib-ver" => traits.lib_version = text,
        b"db" => traits.db = Some(read_db(cx, word, value)?),
        _ => return Err(Error::Syntax),
    }
    Ok(())
}

fn read_kind(value: &[u8]) -> Result<ClientKind, Error> {
    match &value.to_ascii_lowercase()[..] {
        b"normal" => Ok(ClientKind::Normal),
        b"slave" | b"replica" => Ok(ClientKind::Replica),
        b"master" | b"primary" => Ok(ClientKind::Primary),
        b"pubsub" => Ok(ClientKind::Pubsub),
        _ => Err(Error::quoting(&[b"ERR Unknown client type '", value, b"'"])),
    }
}

/// Refuses a text that has other letters than the known ones.
fn check_letters(known: &[u8], word: &[u8], name: &[u8], value: &[u8]) -> Result<(), Error> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(());
    }
    let place = if word == name { b"provided".to_vec() } else { word.to_ascii_uppercase() };
    Err(Error::quoting(&[b"ERR Unknown ", name, b" found in the ", &place, b" filter: ", value]))
}

fn read_db(cx: &SessionContext<'_>, word: &[u8], value: &[u8]) -> Result<usize, Error> {
    let name = String::from_utf8_lossy(word).to_ascii_uppercase();
    let number = parse_i64(value).and_then(|number| i32::try_from(number).ok());
    let Some(number) = number else {
        return Err(Error::other(format!("ERR {name} is not an integer or out of range")));
    };
    let last = cx.process.config.snapshot().databases - 1;
    match u32::try_from(number) {
        Ok(db) if db <= last => Ok(db as usize),
        _ => Err(Error::other(format!("ERR {name} number should be between 0 and {last}"))),
    }
}
