//! HRANDFIELD: random fields.

use super::{Seen, reply_item};
use crate::base::number::parse_i64;
use crate::base::rng::Rng;
use crate::commands::args::weigh_draw;
use crate::exec::{Command, Context};
use crate::resp::{Args, Error, Mark, Output, Protocol, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hash::{Field, Hash};
use std::collections::HashSet;

/// Number of draws for one field. If all of them hit hidden fields, the hash counts as empty.
const DRAWS_MAX: usize = 100;

/// If more than one in `CHOOSE_FACTOR` fields is requested, the fields are chosen in one pass over
/// all of them.
const CHOOSE_FACTOR: usize = 3;

/// Maximum number of draws per requested field.
const DRAWS_PER_FIELD: usize = 10;

impl Seen {
    /// Returns a visible field, each with the same probability. Returns `None` if the hash seems to
    /// have no visible field.
    fn draw<'h>(self, hash: &'h Hash, rng: &mut Rng) -> Option<Field<'h>> {
        for _ in 0..DRAWS_MAX {
            let field = hash.random(rng)?;
            if self.sees(&field) {
                return Some(field);
            }
        }
        None
    }
}

/// Fields for an array reply, whose length is only known after them.
struct Drawn {
    output: Output,
    protocol: Protocol,
    with_values: bool,
    fields: usize,
}

impl Drawn {
    fn add(&mut self, field: &Field<'_>) {
        let mut reply = Reply::new(&mut self.output, self.protocol);
        if self.with_values && self.protocol == Protocol::Three {
            reply.array(2);
        }
        reply_item(&mut reply, &field.name);
        if self.with_values {
            reply_item(&mut reply, &field.value);
        }
        self.fields += 1;
    }

    fn reply(&self, reply: &mut Reply<'_>) {
        let is_flat = self.with_values && self.protocol == Protocol::Two;
        reply.array(if is_flat { self.fields * 2 } else { self.fields });
        reply.append_range(&self.output, self.output.range_from(Mark::default()));
    }
}

pub(super) static HRANDFIELD: Command = Command::single(
    hrandfield,
    Card::new("hrandfield", Group::Hash, "6.2.0")
        .summary("Returns one or more random fields from a hash.")
        .complexity("O(N) where N is the number of fields returned")
        .arity(-2)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .args(&[
            Arg::key("key"),
            Arg::block("options", &[Arg::integer("count"), Arg::keyword("WITHVALUES").optional()])
                .optional(),
        ]),
)
.offload_by(weigh_draw);

fn hrandfield(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 2 {
        return hrandfield_count(cx, args);
    }
    let seen = Seen::of(cx);
    let rng = &mut cx.slice.draw_rng();
    let key = cx.key(args, 1);
    let hash = cx.slice.read::<Hash>(cx.db, &key)?;
    match hash.and_then(|hash| seen.draw(hash, rng)) {
        Some(field) => reply_item(&mut cx.reply, &field.name),
        None => cx.reply.null(),
    }
    Ok(())
}

fn hrandfield_count(cx: &mut Context<'_>, args: &Args<'_>) -> Result<(), Error> {
    let count = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    if count == i64::MIN {
        return Err(Error::not_between(-i64::MAX, i64::MAX));
    }
    let with_values = match args.get(3) {
        None => false,
        Some(arg) if args.len() == 4 && arg.eq_ignore_ascii_case(b"WITHVALUES") => true,
        Some(_) => return Err(Error::Syntax),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::other("ERR value is out of range"));
    }
    let (seen, elements_max) = (Seen::of(cx), cx.elements_max() as u64);
    let rng = &mut cx.slice.draw_rng();
    let key = cx.key(args, 1);
    let protocol = cx.reply.protocol();
    let mut drawn = Drawn { output: Output::default(), protocol, with_values, fields: 0 };
    if let Some(hash) = cx.slice.read::<Hash>(cx.db, &key)? {
        match usize::try_from(count) {
            Ok(count) => draw_distinct(seen, hash, rng, count, &mut drawn),
            Err(_) => {
                for _ in 0..count.unsigned_abs().min(elements_max) {
                    let Some(field) = seen.draw(hash, rng) else { break };
                    drawn.add(&field);
                }
            }
        }
    }
    drawn.reply(&mut cx.reply);
    Ok(())
}

/// Draws `count` fields, each at most once.
fn draw_distinct(seen: Seen, hash: &Hash, rng: &mut Rng, count: usize, drawn: &mut Drawn) {
    if count == 0 {
        return;
    }
    if count >= hash.len() {
        return seen.all(hash).for_each(|field| drawn.add(&field));
    }
    if hash.is_packed() || count.saturating_mul(CHOOSE_FACTOR) > hash.len() {
        // Selection sampling: a field is taken with the probability wanted / left, so that every
        // subset of the wanted size is equally likely.
        let mut left = if hash.volatile_len() == 0 { hash.len() } else { seen.all(hash).count() };
        let mut wanted = count;
        for field in seen.all(hash) {
            if rng.below(left as u64) < wanted as u64 {
                drawn.add(&field);
                wanted -= 1;
            }
            left -= 1;
        }
        return;
    }
    let mut names = HashSet::new();
    for _ in 0..count.saturating_mul(DRAWS_PER_FIELD) {
        let Some(field) = seen.draw(hash, rng) else { break };
        if names.insert(field.name.to_vec()) {
            drawn.add(&field);
        }
        if names.len() == count {
            break;
        }
    }
}
