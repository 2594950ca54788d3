//! Commands on the bits of a string: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD.

mod field;
mod operation;

use crate::base::number::parse_i64;
use crate::exec::{Command, Context, READ_BYTES, Weighing};
use crate::keyspace::{Event, Key, Slice};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::bits;
use crate::value::string::IntText;
use std::ops::Range;

/// The bitmap commands.
pub static FAMILY: &[&Command] = &[
    &SETBIT,
    &GETBIT,
    &BITCOUNT,
    &BITPOS,
    &operation::BITOP,
    &field::BITFIELD,
    &field::BITFIELD_RO,
];

/// Returns the bit offset that an argument gives. If `width` is given, `#n` means the n-th field of
/// `width` bits.
fn parse_offset(cx: &Context<'_>, arg: &[u8], width: Option<u32>) -> Result<u64, Error> {
    let (digits, factor) = match (arg, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, i64::from(width)),
        _ => (arg, 1),
    };
    let number = parse_i64(digits).ok_or(Error::BitOffset)?;
    // The product wraps on overflow, as in the reference.
    let offset = u64::try_from(number.wrapping_mul(factor)).map_err(|_| Error::BitOffset)?;
    if offset / 8 >= cx.config.proto_max_bulk_len {
        return Err(Error::BitOffset);
    }
    Ok(offset)
}

fn parse_integer(arg: &[u8]) -> Result<i64, Error> {
    parse_i64(arg).ok_or(Error::NotInteger)
}

/// Returns the string at a key for writing, extended to at least `bits` bits, and whether it became
/// longer. The caller must raise an event if a bit changes.
fn string_for_bits<'s>(
    slice: &'s mut Slice,
    db: usize,
    key: &Key<'_>,
    bits: u64,
) -> Result<(&'s mut [u8], bool), Error> {
    let old_len = match slice.peek(db, key) {
        None => 0,
        Some(view) => view.string().ok_or(Error::WrongType)?.len(),
    };
    let len = bits.div_ceil(8) as usize;
    Ok((slice.string_mut_silently(db, key, len), old_len < len))
}

static SETBIT: Command = Command::single(
    setbit,
    Card::new("setbit", Group::Bitmap, "2.2.0")
        .summary(
            "Sets or clears the bit at offset of the string value. Creates the key if it doesn't \
             exist.",
        )
        .constant_time()
        .arity(4)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::updates().using_data()])
        .args(&[Arg::key("key"), Arg::integer("offset"), Arg::integer("value")]),
)
.offload_by(weigh_setbit);

fn weigh_setbit(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let offset = parse_i64(&args[2]).and_then(|offset| usize::try_from(offset).ok());
    offset.map_or(0, |offset| weighing.string_edit(args, 1, offset / 8 + 1))
}

fn setbit(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let offset = parse_offset(cx, &args[2], None)?;
    let on = match &args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(Error::BitValue),
    };
    let key = cx.key(args, 1);
    let (bytes, is_longer) = string_for_bits(cx.slice, cx.db, &key, offset + 1)?;
    let was_on = bits::get(bytes, offset);
    bits::put(bytes, offset, on);
    if is_longer || was_on != on {
        cx.raise(&key, Event::SetBit, 1);
    }
    cx.reply.integer(i64::from(was_on));
    Ok(())
}

static GETBIT: Command = Command::single(
    getbit,
    Card::new("getbit", Group::Bitmap, "2.2.0")
        .summary("Returns a bit value by offset.")
        .constant_time()
        .arity(3)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[Arg::key("key"), Arg::integer("offset")]),
);

fn getbit(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let offset = parse_offset(cx, &args[2], None)?;
    let key = cx.key(args, 1);
    let on = match cx.slice.lookup(cx.db, &key) {
        None => false,
        Some(view) => {
            let value = view.string().ok_or(Error::WrongType)?;
            bits::get(value.text(&mut IntText::new()), offset)
        }
    };
    cx.reply.integer(i64::from(on));
    Ok(())
}

/// The range of a string that BITCOUNT or BITPOS searches, as given in the arguments.
#[derive(Clone, Copy)]
struct Span {
    /// The first bit or byte; negative: counted from the end.
    start: i64,
    /// The last bit or byte; `None`: the end of the string.
    end: Option<i64>,
    /// Whether both count bits instead of bytes.
    is_bits: bool,
}

impl Span {
    const WHOLE: Span = Span { start: 0, end: None, is_bits: false };

    /// Parses the arguments `[start [end [BIT
    ///
    /// BYTE]]]` from argument `first` on.
    fn parse(args: &Args<'_>, first: usize) -> Result<Span, Error> {
        let Some(start) = args.get(first) else { return Ok(Span::WHOLE) };
        if args.len() > first + 3 {
            return Err(Error::Syntax);
        }
        let start = parse_integer(start)?;
        let is_bits = match args.get(first + 2) {
            None => false,
            Some(unit) if unit.eq_ignore_ascii_case(b"BYTE") => false,
            Some(unit) if unit.eq_ignore_ascii_case(b"BIT") => true,
            Some(_) => return Err(Error::Syntax),
        };
        let end = args.get(first + 1).map(parse_integer).transpose()?;
        Ok(Span { start, end, is_bits })
    }

    /// Returns whether both ends are negative and the start is after the end.
    fn is_inverted(&self) -> bool {
        self.end.is_some_and(|end| self.start < 0 && end < 0 && self.start > end)
    }

    /// Returns the range in bits for a string of `len` bytes, or `None` if it is empty.
    fn resolve(&self, len: usize) -> Option<Range<u64>> {
        let unit = if self.is_bits { 1 } else { 8 };
        let units = len as i64 * 8 / unit;
        let from_start = |at: i64| if at < 0 { (units + at).max(0) } else { at };
        let start = from_start(self.start);
        let last = self.end.map_or(units - 1, from_start).min(units - 1);
        (start <= last).then(|| (start * unit) as u64..((last + 1) * unit) as u64)
    }
}

/// A range of bytes or bits.
const BIT_RANGE: Arg = Arg::block(
    "range",
    &[
        Arg::integer("start"),
        Arg::block(
            "end-unit-block",
            &[Arg::integer("end"), Arg::choice("unit", &["BYTE", "BIT"]).since("7.0.0").optional()],
        )
        .optional(),
    ],
);

static BITCOUNT: Command = Command::single(
    bitcount,
    Card::new("bitcount", Group::Bitmap, "2.6.0")
        .summary("Counts the number of set bits (population counting) in a string.")
        .complexity("O(N)")
        .arity(-2)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[
            ("7.0.0", "Added the `BYTE|BIT` option."),
            (
                "8.0.0",
                "`end` made optional; when called without argument the command reports the last \
                 BYTE.",
            ),
        ])
        .args(&[Arg::key("key"), BIT_RANGE.optional()]),
)
.offload_by(weigh_search);

fn weigh_search(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    weighing.string_bytes(args, 1) / READ_BYTES
}

fn bitcount(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let span = Span::parse(args, 2)?;
    let key = cx.key(args, 1);
    let count = match cx.slice.lookup(cx.db, &key) {
        None => 0,
        Some(view) => {
            let mut buffer = IntText::new();
            let bytes = view.string().ok_or(Error::WrongType)?.text(&mut buffer);
            let range = if span.is_inverted() { None } else { span.resolve(bytes.len()) };
            range.map_or(0, |range| bits::count(bytes, range))
        }
    };
    cx.reply.integer(count as i64);
    Ok(())
}

static BITPOS: Command = Command::single(
    bitpos,
    Card::new("bitpos", Group::Bitmap, "2.8.7")
        .summary("Finds the first set (1) or clear (0) bit in a string.")
        .complexity("O(N)")
        .arity(-3)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::reads()])
        .history(&[("7.0.0", "Added the `BYTE|BIT` option.")])
        .args(&[Arg::key("key"), Arg::integer("bit"), BIT_RANGE.optional()]),
)
.offload_by(weigh_search);

fn bitpos(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let on = match parse_integer(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(Error::other("ERR The bit argument must be 1 or 0.")),
    };
    let span = Span::parse(args, 3)?;
    let key = cx.key(args, 1);
    let position = match cx.slice.lookup(cx.db, &key) {
        // A missing key is an endless sequence of zeros.
        None if on => None,
        None => Some(0),
        Some(view) => {
            let mut buffer = IntText::new();
            let bytes = view.string().ok_or(Error::WrongType)?.text(&mut buffer);
            span.resolve(bytes.len()).and_then(|range| {
                let end = range.end;
                let found = bits::find(bytes, range, on);
                // Without an end, zeros follow the string.
                found.or_else(|| (!on && span.end.is_none()).then_some(end))
            })
        }
    };
    cx.reply.integer(position.map_or(-1, |position| position as i64));
    Ok(())
}

#[cfg(test)]
mod tests;
