//! HSCAN: an iteration over the fields of a hash.

use super::{Seen, reply_item};
use crate::base::glob;
use crate::base::number::{parse_cursor, parse_i64};
use crate::commands::args::weigh_scan;
use crate::exec::{Command, Context};
use crate::resp::{Args, Error, Mark, Output, Reply};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hash::Hash;
use crate::value::string::IntText;

/// Number of elements that an HSCAN without COUNT asks for.
const COUNT_DEFAULT: u64 = 10;

/// Maximum number of steps per element of the COUNT. In a nearly empty table a step may find no
/// element.
const STEPS_PER_ELEMENT: u64 = 10;

/// The options of HSCAN.
struct Scan<'a> {
    count: u64,
    pattern: Option<&'a [u8]>,
    with_values: bool,
}

impl<'a> Scan<'a> {
    fn of(args: &'a Args<'_>) -> Result<Scan<'a>, Error> {
        let mut scan = Scan { count: COUNT_DEFAULT, pattern: None, with_values: true };
        let mut index = 3;
        while index < args.len() {
            let option = &args[index];
            match args.get(index + 1) {
                Some(value) if option.eq_ignore_ascii_case(b"COUNT") => {
                    let count = parse_i64(value).ok_or(Error::NotInteger)?;
                    scan.count = u64::try_from(count).map_err(|_| Error::Syntax)?;
                    if count == 0 {
                        return Err(Error::Syntax);
                    }
                    index += 1;
                }
                Some(value) if option.eq_ignore_ascii_case(b"MATCH") => {
                    scan.pattern = (value != b"*").then_some(value);
                    index += 1;
                }
                _ if option.eq_ignore_ascii_case(b"NOVALUES") => scan.with_values = false,
                _ if option.eq_ignore_ascii_case(b"NOSCORES") => {
                    let text = "ERR NOSCORES option can only be used in ZSCAN";
                    return Err(Error::other(text));
                }
                _ => return Err(Error::Syntax),
            }
            index += 1;
        }
        Ok(scan)
    }

    fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }
}

pub(super) static HSCAN: Command = Command::single(
    hscan,
    Card::new("hscan", Group::Hash, "2.8.0")
        .summary("Iterates over fields and values of a hash.")
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
            Arg::keyword("NOVALUES").optional(),
        ]),
)
.offload_by(weigh_scan);

fn hscan(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let cursor = parse_cursor(&args[2]);
    let mut cursor = cursor.ok_or(Error::other("ERR invalid cursor"))?;
    let seen = Seen::of(cx);
    let key = cx.key(args, 1);
    let Some(hash) = cx.slice.read::<Hash>(cx.db, &key)? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(());
    };
    let scan = Scan::of(args)?;
    let mut output = Output::default();
    let mut found = Reply::new(&mut output, cx.reply.protocol());
    let (mut elements, mut passed) = (0, 0);
    for _ in 0..scan.count.saturating_mul(STEPS_PER_ELEMENT) {
        cursor = hash.scan(cursor, &mut |field| {
            passed += 1;
            if !seen.sees(&field) || !scan.wants(field.name.text(&mut IntText::new())) {
                return;
            }
            reply_item(&mut found, &field.name);
            elements += 1;
            if scan.with_values {
                reply_item(&mut found, &field.value);
                elements += 1;
            }
        });
        if cursor == 0 || passed >= scan.count {
            break;
        }
    }
    cx.reply.array(2);
    cx.reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    cx.reply.array(elements);
    cx.reply.append_range(&output, output.range_from(Mark::default()));
    Ok(())
}
