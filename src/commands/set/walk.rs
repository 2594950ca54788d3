//! SSCAN: iterates over the members of a set.

use super::reply_item;
use crate::base::glob;
use crate::base::number::{parse_cursor, parse_i64};
use crate::commands::args::weigh_scan;
use crate::exec::{Command, Context};
use crate::resp::{Args, Error, Mark, Output, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::set::Set;
use crate::value::string::IntText;

/// Default of COUNT.
const COUNT_DEFAULT: u64 = 10;

/// Maximum scan steps per requested element. A nearly empty table yields few elements per step.
const STEPS_PER_ELEMENT: u64 = 10;

/// Parses the options of SSCAN: the approximate number of elements, and the pattern, `None` for
/// `*`.
fn options<'a>(args: &'a Args<'_>) -> Result<(u64, Option<&'a [u8]>), Error> {
    let (mut count, mut pattern) = (COUNT_DEFAULT, None);
    let mut index = 3;
    while let Some(option) = args.get(index) {
        match args.get(index + 1) {
            Some(value) if option.eq_ignore_ascii_case(b"COUNT") => {
                let number = parse_i64(value).ok_or(Error::NotInteger)?;
                let positive = u64::try_from(number).ok().filter(|count| *count > 0);
                count = positive.ok_or(Error::Syntax)?;
            }
            Some(value) if option.eq_ignore_ascii_case(b"MATCH") => {
                pattern = (value != b"*").then_some(value);
            }
            _ if option.eq_ignore_ascii_case(b"NOVALUES") => {
                return Err(Error::other("ERR NOVALUES option can only be used in HSCAN"));
            }
            _ if option.eq_ignore_ascii_case(b"NOSCORES") => {
                return Err(Error::other("ERR NOSCORES option can only be used in ZSCAN"));
            }
            _ => return Err(Error::Syntax),
        }
        index += 2;
    }
    Ok((count, pattern))
}

pub(super) static SSCAN: Command = Command::single(
    sscan,
    Card::new("sscan", Group::Set, "2.8.0")
        .summary("Iterates over members of a set.")
        .complexity(
            "O(1) for every call. O(N) for a complete iteration, including enough command calls \
             for the cursor to return back to 0. N is the number of elements inside the \
             collection.",
        )
        .arity(-3)
        .flags(Flag::READONLY)
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::reads()])
        .args(&[
            Arg::key("key"),
            Arg::integer("cursor"),
            Arg::pattern("pattern").after("MATCH").optional(),
            Arg::integer("count").after("COUNT").optional(),
        ]),
)
.offload_by(weigh_scan);

fn sscan(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let Some(mut cursor) = parse_cursor(&args[2]) else {
        return Err(Error::other("ERR invalid cursor"));
    };
    let key = cx.key(args, 1);
    let Some(set) = cx.slice.read::<Set>(cx.db, &key)? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(());
    };
    let (wanted, pattern) = options(args)?;
    let mut found = Output::default();
    let (mut seen, mut count) = (0, 0);
    for _ in 0..wanted.saturating_mul(STEPS_PER_ELEMENT) {
        cursor = set.scan(cursor, &mut |member| {
            seen += 1;
            let mut buffer = IntText::new();
            let is_shown = |pattern| glob::matches(pattern, member.text(&mut buffer), false);
            if pattern.is_none_or(is_shown) {
                reply_item(&mut Reply::new(&mut found, cx.reply.protocol()), &member);
                count += 1;
            }
        });
        if cursor == 0 || seen >= wanted {
            break;
        }
    }
    cx.reply.array(2);
    cx.reply.integer_bulk(cursor as i64);
    cx.reply.array(count);
    cx.reply.append_range(&found, found.range_from(Mark::default()));
    Ok(())
}
