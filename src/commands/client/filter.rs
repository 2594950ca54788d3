//! Parsing of the filters of CLIENT LIST and CLIENT KILL.

use crate::base::number::parse_i64;
use crate::exec::{
    CLIENT_CAPABILITIES, CLIENT_FLAGS, ClientFilter, ClientKind, SessionContext, Traits,
};
use crate::resp::{Args, Error};

/// Returns the filter that the arguments from the third on describe, and the value of SKIPME.
pub(super) fn read_filter(
    cx: &SessionContext<'_>,
    args: &Args<'_>,
) -> Result<(ClientFilter, Option<bool>), Error> {
    let mut filter = ClientFilter::default();
    let mut skip_me = None;
    let mut at = 2;
    while let Some(arg) = args.get(at) {
        let arg = arg.to_ascii_lowercase();
        let (traits, name) = match arg.strip_prefix(b"not-") {
            Some(name) => (&mut filter.without, name),
            None => (&mut filter.with, &arg[..]),
        };
        if name == b"id" {
            at = read_ids(args, at + 1, traits.ids.get_or_insert_default())?;
            continue;
        }
        let value = args.get(at + 1).ok_or(Error::Syntax)?;
        match &arg[..] {
            b"maxage" => filter.age_min_s = Some(read_seconds("maxage", value)?),
            b"idle" => filter.idle_min_s = Some(read_seconds("idle", value)?),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => skip_me = Some(true),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => skip_me = Some(false),
            _ => read_trait(cx, traits, &arg, name, value)?,
        }
        at += 2;
    }
    Ok((filter, skip_me))
}

/// Reads ids up to the first argument that is not a number. Returns the index of that argument.
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

/// Reads one trait. `arg` is its `name`, possibly with `not-` before it.
fn read_trait(
    cx: &SessionContext<'_>,
    traits: &mut Traits,
    arg: &[u8],
    name: &[u8],
    value: &[u8],
) -> Result<(), Error> {
    let text = Some(value.to_vec());
    match name {
        b"type" => traits.kind = Some(read_kind(value)?),
        b"addr" => traits.address = text,
        b"laddr" => traits.local_address = text,
        b"ip" => traits.ip = text,
        b"user" if cx.process.acl.find(value).is_some() => traits.user = text,
        b"user" => return Err(Error::quoting(&[b"ERR No such user '", value, b"'"])),
        b"flags" => {
            check_letters(CLIENT_FLAGS, arg, name, value)?;
            traits.flags = text;
        }
        b"capa" => {
            check_letters(CLIENT_CAPABILITIES, arg, name, value)?;
            traits.capabilities = text;
        }
        b"name" => traits.name = text,
        b"lib-name" => traits.lib_name = text,
        b"lib-ver" => traits.lib_version = text,
        b"db" => traits.db = Some(read_db(cx, arg, value)?),
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

/// Refuses a text with unknown letters.
fn check_letters(known: &[u8], arg: &[u8], name: &[u8], value: &[u8]) -> Result<(), Error> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(());
    }
    let place = if arg == name { b"provided".to_vec() } else { arg.to_ascii_uppercase() };
    Err(Error::quoting(&[b"ERR Unknown ", name, b" found in the ", &place, b" filter: ", value]))
}

fn read_db(cx: &SessionContext<'_>, arg: &[u8], value: &[u8]) -> Result<usize, Error> {
    let name = String::from_utf8_lossy(arg).to_ascii_uppercase();
    let number = parse_i64(value).and_then(|number| i32::try_from(number).ok());
    let Some(number) = number else {
        return Err(Error::other(format!("ERR {name} is not an integer or out of range")));
    };
    let last = cx.process.config.snapshot().database_count() - 1;
    match u32::try_from(number) {
        Ok(db) if db <= last => Ok(db as usize),
        _ => Err(Error::other(format!("ERR {name} number should be between 0 and {last}"))),
    }
}
