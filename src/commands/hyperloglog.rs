//! HyperLogLog commands, which estimate the number of distinct elements. The values are strings.

use crate::exec::{Command, Context, SessionContext, Weighing};
use crate::keyspace::{Event, Expiry, Key, Slice};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::hyperloglog::{self, Corrupted, Cursor, Form, REGISTERS, Registers, Stride};
use crate::value::string::{NewStr, Str};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

/// The HyperLogLog commands.
pub static FAMILY: &[&Command] = &[&PFADD, &PFCOUNT, &PFMERGE, &PFDEBUG, &PFSELFTEST];

/// Whether `PFDEBUG SIMD OFF` is in effect: all shards then process registers one by one.
static IS_SINGLE: AtomicBool = AtomicBool::new(false);

const CORRUPTED: Error = Error::Other(Cow::Borrowed("INVALIDOBJ Corrupted HLL object detected"));

const NOT_ONE: Error =
    Error::Other(Cow::Borrowed("WRONGTYPE Key is not a valid HyperLogLog string value."));

impl From<Corrupted> for Error {
    fn from(_: Corrupted) -> Error {
        CORRUPTED
    }
}

/// Returns the bytes of a value, and whether it is sparse or dense.
fn bytes_and_form<'v>(value: &Str<'v>) -> Result<(&'v [u8], Form), Error> {
    let bytes: &[u8] = match *value {
        Str::Int(_) => return Err(NOT_ONE),
        Str::Bytes(bytes) => bytes,
        Str::Large(bytes) => bytes,
    };
    hyperloglog::form(bytes).map(|form| (bytes, form)).ok_or(NOT_ONE)
}

/// Returns the bytes and the form of the value at a key, for a command that will change it.
fn value_at<'s>(
    slice: &'s mut Slice,
    db: usize,
    key: &Key<'_>,
) -> Result<Option<(&'s [u8], Form)>, Error> {
    let Some(view) = slice.peek(db, key) else { return Ok(None) };
    bytes_and_form(&view.string().ok_or(Error::WrongType)?).map(Some)
}

/// Writes a value. The caller must raise an event.
fn write(slice: &mut Slice, db: usize, key: &Key<'_>, value: &[u8]) {
    let old_len = slice.peek(db, key).and_then(|view| view.string()).map_or(0, |old| old.len());
    if value.len() < old_len {
        let was_silent = slice.set_silent(true);
        slice.set(db, key, NewStr::Bytes(value), Expiry::Keep);
        slice.set_silent(was_silent);
    }
    slice.string_mut_silently(db, key, value.len()).copy_from_slice(value);
}

fn stride() -> Stride {
    if IS_SINGLE.load(Ordering::Relaxed) { Stride::Single } else { Stride::Wide }
}

static PFADD: Command = Command::single(
    pfadd,
    Card::new("pfadd", Group::HyperLogLog, "2.8.9")
        .summary("Adds elements to a HyperLogLog key. Creates the key if it doesn't exist.")
        .complexity("O(1) to add every element.")
        .steady()
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::FAST))
        .keys(&[KeySpec::inserts()])
        .args(&[Arg::key("key"), Arg::string("element").optional().repeated()]),
);

fn pfadd(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let key = cx.key(args, 1);
    let (raised, result) = match value_at(cx.slice, cx.db, &key)? {
        Some((_, Form::Dense)) => {
            let value = cx.slice.string_mut_silently(cx.db, &key, 0);
            (add_dense(value, args), Ok(()))
        }
        found => {
            let bytes_max = cx.config.hll_sparse_max_bytes as usize;
            let mut value = found.map_or_else(hyperloglog::empty, |(bytes, _)| bytes.to_vec());
            let mut raised = u64::from(found.is_none());
            if raised > 0 {
                hyperloglog::forget_count(&mut value);
            }
            let result = add_sparse(&mut value, args, bytes_max, &mut raised);
            write(cx.slice, cx.db, &key, &value);
            (raised, result)
        }
    };
    // After an error, elements that were added before stay. The change is not counted.
    result?;
    if raised > 0 {
        cx.raise(&key, Event::PfAdd, raised);
    }
    cx.reply.integer(i64::from(raised > 0));
    Ok(())
}

/// Adds the elements of PFADD to a dense value. Returns how many of them raised a register.
fn add_dense(value: &mut [u8], args: &Args<'_>) -> u64 {
    let raises = |element: &&[u8]| {
        let (index, rank) = hyperloglog::place_of(element);
        hyperloglog::raise_dense(value, index, rank)
    };
    let raised = args.iter_from(2).filter(raises).count();
    if raised > 0 {
        hyperloglog::forget_count(value);
    }
    raised as u64
}

/// Adds the elements of PFADD to a value that is sparse at first and may become dense. Adds to
/// `raised` the number of elements that raised a register, also before an error.
fn add_sparse(
    value: &mut Vec<u8>,
    args: &Args<'_>,
    bytes_max: usize,
    raised: &mut u64,
) -> Result<(), Corrupted> {
    for element in args.iter_from(2) {
        let (index, rank) = hyperloglog::place_of(element);
        let is_raised = hyperloglog::raise(value, index, rank, bytes_max, &mut Cursor::default())?;
        if is_raised {
            hyperloglog::forget_count(value);
            *raised += 1;
        }
    }
    Ok(())
}

static PFCOUNT: Command = Command::gather(
    pfcount,
    Card::new("pfcount", Group::HyperLogLog, "2.8.9")
        .summary(
            "Returns the approximated cardinality of the set(s) observed by the HyperLogLog \
             key(s).",
        )
        .complexity(
            "O(1) with a very small average constant time when called with a single key. O(N) \
             with N being the number of keys, and much bigger constant times, when called with \
             multiple keys.",
        )
        .arity(-2)
        .flags(Flag::READONLY.and(Flag::MAY_REPLICATE))
        .keys(&[KeySpec::reforms().to_end(1).changed_alone().note(
            "RW because it may change the internal representation of the key, and propagate to \
             replicas",
        )])
        .args(&[Arg::key("key").repeated()]),
)
.offload_by(weigh_merge);

/// Elements in whose time the registers of one value are merged.
const MERGED_WEIGHT: usize = 100;

fn weigh_merge(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    if (args.len() - 1) * MERGED_WEIGHT < weighing.enough {
        return (args.len() - 1) * MERGED_WEIGHT;
    }
    let has_value = |at: &usize| weighing.value(args, *at).is_some();
    let values = (1..args.len()).filter(has_value);
    values.take(weighing.enough / MERGED_WEIGHT + 1).count() * MERGED_WEIGHT
}

fn pfcount(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if args.len() > 2 {
        let registers = merged(cx, args)?.0;
        cx.reply.integer(registers.count() as i64);
        return Ok(());
    }
    let key = cx.key(args, 1);
    let Some(view) = cx.slice.lookup(cx.db, &key) else {
        cx.reply.integer(0);
        return Ok(());
    };
    let value = view.string().ok_or(Error::WrongType)?;
    let (bytes, _) = bytes_and_form(&value)?;
    // The reference keeps a value that it has read as `raw`.
    let becomes_raw = matches!(value, Str::Bytes(_)) && !view.is_edited();
    let cached = hyperloglog::cached_count(bytes);
    let count = match cached {
        Some(count) => Ok(count),
        None => hyperloglog::count(bytes),
    };
    if becomes_raw || (cached.is_none() && count.is_ok()) {
        let value = cx.slice.string_mut_silently(cx.db, &key, 0);
        if let (None, Ok(count)) = (cached, count) {
            // Propagated, so that replicas have the same bytes.
            hyperloglog::put_cached_count(value, count);
            // As in the reference, it has no event, but clients that watch the key see it.
            cx.slice.signal(cx.db, &key);
            cx.slice.count_changes(1);
            cx.propagate(&[&args[0], &args[1]]);
        }
    }
    cx.reply.integer(count? as i64);
    Ok(())
}

/// Returns the merged registers of all keys, and whether one of the values is dense.
fn merged(cx: &mut Context<'_>, args: &Args<'_>) -> Result<(Registers, bool), Error> {
    let mut registers = Registers::new(stride());
    let mut has_dense = false;
    for index in 1..args.len() {
        let key = cx.key(args, index);
        let Some(view) = cx.slice.lookup(cx.db, &key) else { continue };
        let (bytes, form) = bytes_and_form(&view.string().ok_or(Error::WrongType)?)?;
        registers.merge(bytes)?;
        has_dense |= form == Form::Dense;
    }
    Ok((registers, has_dense))
}

static PFMERGE: Command = Command::gather(
    pfmerge,
    Card::new("pfmerge", Group::HyperLogLog, "2.8.9")
        .summary("Merges one or more HyperLogLog values into a single key.")
        .complexity("O(N) to merge N HyperLogLogs, but with high constant times.")
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::inserts().using_data(), KeySpec::reads().at(2).to_end(1)])
        .args(&[Arg::key("destkey"), Arg::key("sourcekey").key_spec(1).optional().repeated()]),
)
.offload_by(weigh_merge);

fn pfmerge(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let (registers, has_dense) = merged(cx, args)?;
    let bytes_max = cx.config.hll_sparse_max_bytes as usize;
    let key = cx.key(args, 1);
    let found = value_at(cx.slice, cx.db, &key)?;
    let mut value = found.map_or_else(hyperloglog::empty, |(bytes, _)| bytes.to_vec());
    if has_dense {
        if found.is_none_or(|(_, form)| form == Form::Sparse) {
            value = hyperloglog::to_dense(&value)?;
        }
        registers.write_to(&mut value);
    } else {
        let mut cursor = Cursor::default();
        for (index, rank) in registers.ranks() {
            hyperloglog::raise(&mut value, index, rank, bytes_max, &mut cursor)?;
        }
    }
    hyperloglog::forget_count(&mut value);
    write(cx.slice, cx.db, &key, &value);
    cx.raise(&key, Event::PfAdd, 1);
    cx.reply.ok();
    Ok(())
}

static PFDEBUG: Command = Command::single(
    pfdebug,
    Card::new("pfdebug", Group::HyperLogLog, "2.8.9")
        .summary("Internal commands for debugging HyperLogLog values.")
        .complexity("N/A")
        .arity(3)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::ADMIN))
        .keys(&[KeySpec::reforms().at(2)])
        .internal()
        .args(&[Arg::string("subcommand"), Arg::key("key")]),
);

fn pfdebug(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let is = |name: &[u8]| args[1].eq_ignore_ascii_case(name);
    if is(b"SIMD") {
        return put_stride(cx, &args[2]);
    }
    let key = cx.key(args, 2);
    let found = value_at(cx.slice, cx.db, &key)?;
    let (bytes, form) = found.ok_or(Error::other("ERR The specified key does not exist"))?;
    if is(b"ENCODING") {
        cx.reply.simple(if form == Form::Dense { "dense" } else { "sparse" });
    } else if is(b"DECODE") {
        if form == Form::Dense {
            return Err(Error::other("ERR HLL encoding is not sparse"));
        }
        let runs = hyperloglog::describe(bytes);
        cx.reply.bulk(runs.as_bytes());
    } else if is(b"TODENSE") {
        cx.reply.integer(i64::from(form == Form::Sparse));
        become_dense(cx, &key)?;
    } else if is(b"GETREG") {
        become_dense(cx, &key)?;
        let value = cx.slice.string_mut_silently(cx.db, &key, 0);
        cx.reply.array(REGISTERS);
        for index in 0..REGISTERS {
            cx.reply.integer(i64::from(hyperloglog::register(value, index)));
        }
    } else {
        return Err(Error::quoting(&[b"ERR Unknown PFDEBUG subcommand '", &args[1], b"'"]));
    }
    Ok(())
}

/// Converts a value to the dense form. The value has the same meaning, so this change has no event.
fn become_dense(cx: &mut Context<'_>, key: &Key<'_>) -> Result<(), Error> {
    if let Some((bytes, Form::Sparse)) = value_at(cx.slice, cx.db, key)? {
        let value = hyperloglog::to_dense(bytes)?;
        write(cx.slice, cx.db, key, &value);
        cx.slice.count_changes(1);
    }
    Ok(())
}

fn put_stride(cx: &mut Context<'_>, arg: &[u8]) -> Result<(), Error> {
    let on = arg.eq_ignore_ascii_case(b"ON");
    if !on && !arg.eq_ignore_ascii_case(b"OFF") {
        return Err(Error::other("ERR Argument must be ON or OFF"));
    }
    IS_SINGLE.store(!on, Ordering::Relaxed);
    cx.reply.simple(if on { "enabled" } else { "disabled" });
    Ok(())
}

static PFSELFTEST: Command = Command::session(
    pfselftest,
    Card::new("pfselftest", Group::HyperLogLog, "2.8.9")
        .summary("An internal command for testing HyperLogLog values.")
        .complexity("N/A")
        .flags(Flag::ADMIN)
        .internal(),
);

fn pfselftest(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let bytes_max = cx.process.config.snapshot().hll_sparse_max_bytes as usize;
    hyperloglog::self_test(cx.now_us, bytes_max)
        .map_err(|what| Error::other(format!("ERR TESTFAILED {what}")))?;
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
