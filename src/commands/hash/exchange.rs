//! Commands that set or read values and change expiries or fields together: HSETEX, HGETEX,
//! HGETDEL.

use super::FIELDS;
use super::options::{Fields, Lifetime, Options, Presence, mismatch};
use super::write::{is_past, replaces_expired};
use super::{Seen, limits_of, reply_value};
use crate::commands::arg_groups::{EXPIRATION_OR_KEEPTTL, EXPIRATION_OR_PERSIST};
use crate::exec::{Command, Context};
use crate::keyspace::{Event, Key};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hash::Hash;

pub(super) static HSETEX: Command = Command::single(
    hsetex,
    Card::new("hsetex", Group::Hash, "9.0.0")
        .summary(
            "Sets the value of one or more fields of a given hash key, and optionally sets their \
             expiration time.",
        )
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-6)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .args(&[
            Arg::key("key"),
            Arg::choice("key-condition", &["NX", "XX"]).optional(),
            Arg::choice("fields-condition", &["FNX", "FXX"]).optional(),
            EXPIRATION_OR_KEEPTTL.optional(),
            Arg::block(
                "fields",
                &[
                    Arg::integer("numfields").key_spec(0),
                    Arg::block("data", &[Arg::string("field"), Arg::string("value")]).repeated(),
                ],
            )
            .after("FIELDS"),
        ]),
);

fn hsetex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let fields = Fields::find(args, 0)?;
    let options = Options::of_hsetex(args, fields.keyword)?;
    let fields = fields.counted(args, 2, mismatch)?;
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let hash = match cx.slice.peek(cx.db, &key) {
        None => None,
        Some(view) => Some(view.object::<Hash>().ok_or(Error::WrongType)?),
    };
    let is_met = |presence: Presence, is_there: bool| match presence {
        Presence::Any => true,
        Presence::Absent => !is_there,
        Presence::Present => is_there,
    };
    if !is_met(options.key, hash.is_some()) {
        cx.reply.integer(0);
        return Ok(());
    }
    let names = || (fields.first..args.len()).step_by(2).map(|at| &args[at]);
    let are_met = names().all(|name| {
        is_met(options.fields, hash.is_some_and(|hash| seen.get(hash, name).is_some()))
    });
    let at = match options.lifetime {
        Lifetime::Given(unit, index) => Some(unit.deadline(&args[index], cx.now_ms, "hsetex")?),
        _ => None,
    };
    if !are_met {
        cx.reply.integer(0);
        return Ok(());
    }
    match at {
        Some(at) if cx.slice.is_past(at) => {
            let removed = set_expired(cx, &key, names())?;
            cx.slice.count_expired_fields((args.len() - fields.first) as u64 / 2);
            if !removed.is_empty() {
                propagate_removed(cx, &key, &removed);
            }
        }
        _ => set_all(cx, args, fields, &options, at)?,
    }
    cx.reply.integer(1);
    Ok(())
}

/// Sets fields that expire at once: removes them, hidden or not. Returns the names of the fields
/// that existed. The reference raises the events of a set and of its expiry for new fields too, and
/// those of a new key.
fn set_expired<'w>(
    cx: &mut Context<'_>,
    key: &Key<'_>,
    names: impl Iterator<Item = &'w [u8]>,
) -> Result<Vec<&'w [u8]>, Error> {
    const EVENTS: [Event; 3] = [Event::HSet, Event::HExpire, Event::HExpired];
    let (db, hash) = (cx.db, cx.slice.edit::<Hash>(cx.db, key)?);
    let Some(mut hash) = hash else {
        drop(hash);
        for event in [Event::New].into_iter().chain(EVENTS).chain([Event::Del]) {
            cx.slice.announce(db, key, event, 0);
        }
        return Ok(Vec::new());
    };
    let removed: Vec<_> = names.filter(|name| hash.remove(name)).collect();
    hash.count_changes(removed.len() as u64);
    for event in EVENTS {
        match removed.is_empty() {
            true => hash.announce(event, 0),
            false => hash.raise(event, 0),
        }
    }
    Ok(removed)
}

/// Propagates the removal of fields as HDEL, before or instead of the command itself.
pub(super) fn propagate_removed(cx: &mut Context<'_>, key: &Key<'_>, names: &[&[u8]]) {
    if cx.is_recorded() {
        let propagated: Vec<&[u8]> =
            [b"HDEL", key.bytes].into_iter().chain(names.iter().copied()).collect();
        cx.propagate(&propagated);
    }
}

/// Sets all fields of HSETEX.
fn set_all(
    cx: &mut Context<'_>,
    args: &Args<'_>,
    fields: Fields,
    options: &Options,
    at: Option<u64>,
) -> Result<(), Error> {
    let limits = limits_of(cx);
    let key = cx.key(args, 1);
    let is_past = is_past(cx.slice);
    let keeps = options.lifetime == Lifetime::Keyword;
    let mut expired = Vec::new();
    let mut hash = cx.slice.edit_or_new::<Hash>(cx.db, &key)?;
    for index in (fields.first..args.len()).step_by(2) {
        let name = &args[index];
        let was_expired = replaces_expired(is_past, &hash, name);
        let kept = hash.get(name).and_then(|field| field.expiry).filter(|_| keeps && !was_expired);
        hash.set(name, &args[index + 1], at.or(kept), &limits);
        if was_expired {
            expired.push(name);
        }
    }
    if !expired.is_empty() {
        hash.raise(Event::HExpired, 0);
    }
    hash.raise(Event::HSet, (args.len() - fields.first) as u64 / 2);
    if at.is_some() {
        hash.raise(Event::HExpire, 0);
    }
    drop(hash);
    cx.slice.count_expired_fields(expired.len() as u64);
    if keeps && !expired.is_empty() {
        // Elsewhere these expired fields may still exist, and KEEPTTL would keep their expiry.
        propagate_removed(cx, &key, &expired);
    }
    let is_absolute = |unit: super::options::Unit| unit.scale == 1 && !unit.is_relative;
    let is_plain = options.key == Presence::Any
        && options.fields == Presence::Any
        && !matches!(options.lifetime, Lifetime::Given(unit, _) if !is_absolute(unit));
    if cx.is_recorded() && (!is_plain || (keeps && !expired.is_empty())) {
        let mut digits = itoa::Buffer::new();
        let mut propagated: Vec<&[u8]> = vec![&args[0], key.bytes];
        match at {
            Some(at) => propagated.extend([b"PXAT", digits.format(at).as_bytes()]),
            None if keeps => propagated.push(b"KEEPTTL"),
            None => {}
        }
        propagated.extend(args.iter_from(fields.keyword));
        cx.propagate(&propagated);
    }
    Ok(())
}

/// The effect of HGETEX, or of a command that changes expiries, on fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Remove,
    Persist,
    ExpireAt(u64),
}

impl Effect {
    fn event(self) -> Option<Event> {
        match self {
            Effect::Nothing => None,
            Effect::Remove => Some(Event::HExpired),
            Effect::Persist => Some(Event::HPersist),
            Effect::ExpireAt(_) => Some(Event::HExpire),
        }
    }
}

pub(super) static HGETEX: Command = Command::single(
    hgetex,
    Card::new("hgetex", Group::Hash, "9.0.0")
        .summary(
            "Gets the value of one or more fields of a given hash key, and optionally sets their \
             expiration time or time-to-live (TTL).",
        )
        .complexity("O(N) where N is the number of specified fields.")
        .steady()
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), EXPIRATION_OR_PERSIST.optional(), FIELDS]),
);

fn hgetex(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let fields = Fields::find(args, 0)?;
    let options = Options::of_hgetex(args, fields.keyword)?;
    let fields = fields.counted(args, 1, mismatch)?;
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    cx.slice.read::<Hash>(cx.db, &key)?;
    let effect = match options.lifetime {
        Lifetime::Unset => Effect::Nothing,
        Lifetime::Keyword => Effect::Persist,
        Lifetime::Given(unit, index) => {
            let at = unit.deadline(&args[index], cx.now_ms, "hgetex")?;
            if cx.slice.is_past(at) { Effect::Remove } else { Effect::ExpireAt(at) }
        }
    };
    cx.reply.array(args.len() - fields.first);
    let mut changed = Vec::new();
    let Some(mut hash) = cx.slice.edit::<Hash>(cx.db, &key)? else {
        (fields.first..args.len()).for_each(|_| cx.reply.null());
        return Ok(());
    };
    for name in args.iter_from(fields.first) {
        let field = seen.get(&hash, name);
        let expiry = field.map(|field| field.expiry);
        reply_value(&mut cx.reply, field);
        let Some(expiry) = expiry else { continue };
        let is_changed = match effect {
            Effect::Nothing => false,
            Effect::Remove => hash.remove(name),
            Effect::Persist => expiry.is_some() && hash.set_expiry(name, None),
            Effect::ExpireAt(at) => hash.set_expiry(name, Some(at)),
        };
        if is_changed {
            changed.push(name);
        }
    }
    if let Some(event) = effect.event().filter(|_| !changed.is_empty()) {
        hash.raise(event, changed.len() as u64);
    }
    drop(hash);
    if !changed.is_empty() {
        if effect == Effect::Remove {
            cx.slice.count_expired_fields(changed.len() as u64);
        }
        propagate_effect(cx, &key, effect, &changed);
    }
    Ok(())
}

/// Propagates an effect on the fields that have changed. Hidden fields of the command are not
/// named: elsewhere they may still be visible.
pub(super) fn propagate_effect(
    cx: &mut Context<'_>,
    key: &Key<'_>,
    effect: Effect,
    names: &[&[u8]],
) {
    if !cx.is_recorded() {
        return;
    }
    let (mut at_digits, mut count_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = count_digits.format(names.len()).as_bytes();
    let mut propagated: Vec<&[u8]> = match effect {
        Effect::Nothing => return,
        Effect::Remove => return propagate_removed(cx, key, names),
        Effect::Persist => vec![b"HPERSIST", key.bytes, b"FIELDS", count],
        Effect::ExpireAt(at) => {
            let at = at_digits.format(at).as_bytes();
            vec![b"HPEXPIREAT", key.bytes, at, b"FIELDS", count]
        }
    };
    propagated.extend(names);
    cx.propagate(&propagated);
}

pub(super) static HGETDEL: Command = Command::single(
    hgetdel,
    Card::new("hgetdel", Group::Hash, "9.1.0")
        .summary("Returns the values of one or more fields and deletes them from a hash.")
        .complexity("O(N) where N is the number of fields to be retrieved and deleted.")
        .steady()
        .arity(-5)
        .flags(Flag::WRITE.and(Flag::FAST))
        .keys(&[KeySpec::deletes().using_data()])
        .args(&[Arg::key("key"), FIELDS]),
);

fn hgetdel(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let fields = Fields::behind_key(args, mismatch)?;
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let mut hash = cx.slice.edit::<Hash>(cx.db, &key)?;
    cx.reply.array(args.len() - fields.first);
    let (mut removed, mut has_hidden) = (Vec::new(), false);
    for name in args.iter_from(fields.first) {
        has_hidden |= hash.as_ref().is_some_and(|hash| seen.hides(hash, name));
        let field = hash.as_ref().and_then(|hash| seen.get(hash, name));
        let is_there = field.is_some();
        reply_value(&mut cx.reply, field);
        if is_there && let Some(hash) = &mut hash {
            hash.remove(name);
            removed.push(name);
        }
    }
    if let Some(hash) = hash.as_mut().filter(|_| !removed.is_empty()) {
        hash.raise(Event::HDel, removed.len() as u64);
    }
    drop(hash);
    if !removed.is_empty() && has_hidden {
        propagate_removed(cx, &key, &removed);
    }
    Ok(())
}
