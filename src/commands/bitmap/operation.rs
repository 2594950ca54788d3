//! BITOP: bitwise operations between strings.

use crate::exec::{Command, Context};
use crate::keyspace::{Event, Expiry};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::bits::{Operation, combine};
use crate::value::string::{INLINE_BYTES_MAX, IntText, NewStr, Str};
use bytes::Bytes;

pub(super) static BITOP: Command = Command::gather(
    bitop,
    Card::new("bitop", Group::Bitmap, "2.6.0")
        .summary("Performs bitwise operations on multiple strings, and stores the result.")
        .complexity("O(N)")
        .arity(-4)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::overwrites().at(2), KeySpec::reads().at(3).to_end(1)])
        .args(&[
            Arg::choice("operation", &["AND", "OR", "XOR", "NOT"]),
            Arg::key("destkey"),
            Arg::key("key").key_spec(1).repeated(),
        ]),
)
.offload();

const NAMES: [(&[u8], Operation); 4] = [
    (b"AND", Operation::And),
    (b"OR", Operation::Or),
    (b"XOR", Operation::Xor),
    (b"NOT", Operation::Not),
];

fn bitop(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let found = NAMES.iter().find(|(name, _)| args[1].eq_ignore_ascii_case(name));
    let &(_, operation) = found.ok_or(Error::Syntax)?;
    if operation == Operation::Not && args.len() != 4 {
        return Err(Error::other("ERR BITOP NOT must be called with a single source key."));
    }
    let sources = sources(cx, args)?;
    let sources: Vec<&[u8]> = sources.iter().map(|source| &source[..]).collect();
    let result = combine(operation, &sources);
    let len = result.len();
    let key = cx.key(args, 2);
    if len > 0 {
        // The entry of the key holds a small value itself.
        let is_small = len <= INLINE_BYTES_MAX;
        let value =
            if is_small { NewStr::Bytes(&result) } else { NewStr::Large(Bytes::from(result)) };
        cx.slice.set(cx.db, &key, value, Expiry::Clear);
        if is_small {
            // The reference keeps a computed value as `raw`.
            cx.slice.string_mut(cx.db, &key, 0);
        }
        cx.raise(&key, Event::Set, 1);
    } else if cx.slice.remove(cx.db, &key) {
        cx.raise(&key, Event::Del, 1);
    }
    cx.reply.integer(len as i64);
    Ok(())
}

/// Returns the source strings: large ones by reference, small ones copied, missing ones as empty.
fn sources(cx: &mut Context<'_>, args: &Args<'_>) -> Result<Vec<Bytes>, Error> {
    let mut sources = Vec::with_capacity(args.len() - 3);
    for index in 3..args.len() {
        let key = cx.key(args, index);
        sources.push(match cx.slice.lookup(cx.db, &key) {
            None => Bytes::new(),
            Some(view) => match view.string().ok_or(Error::WrongType)? {
                Str::Large(bytes) => bytes.clone(),
                small => Bytes::copy_from_slice(small.text(&mut IntText::new())),
            },
        });
    }
    Ok(sources)
}
