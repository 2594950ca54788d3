//! BITFIELD: integers of any width at any bit offset of a string.

use super::{parse_integer, parse_offset, string_for_bits};
use crate::base::number::parse_i64;
use crate::exec::{ArgAt, Command, Context, Weighing};
use crate::keyspace::{Event, Key};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};
use crate::value::bits::{FIELD_BITS_MAX, Field, Overflow};
use crate::value::string::IntText;

pub(super) static BITFIELD: Command = Command::single(
    bitfield,
    Card::new("bitfield", Group::Bitmap, "3.2.0")
        .summary("Performs arbitrary bitfield integer operations on strings.")
        .complexity("O(1) for each subcommand specified")
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::DENYOOM))
        .keys(&[KeySpec::updates()
            .using_data()
            .varying()
            .note("This command allows both access and modification of the key")])
        .args(&[
            Arg::key("key"),
            Arg::one_of(
                "operation",
                &[
                    Arg::block("get-block", &[Arg::string("encoding"), Arg::integer("offset")])
                        .after("GET"),
                    Arg::block(
                        "write",
                        &[
                            Arg::choice("overflow-block", &["WRAP", "SAT", "FAIL"])
                                .after("OVERFLOW")
                                .optional(),
                            Arg::one_of(
                                "write-operation",
                                &[
                                    Arg::block(
                                        "set-block",
                                        &[
                                            Arg::string("encoding"),
                                            Arg::integer("offset"),
                                            Arg::integer("value"),
                                        ],
                                    )
                                    .after("SET"),
                                    Arg::block(
                                        "incrby-block",
                                        &[
                                            Arg::string("encoding"),
                                            Arg::integer("offset"),
                                            Arg::integer("increment"),
                                        ],
                                    )
                                    .after("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .optional()
            .repeated(),
        ]),
)
.offload_by(weigh)
.key_use(bitfield_use);

fn weigh(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    // Offsets follow the types of operations. An argument that is none only makes it look heavier.
    let end_of = |arg: &[u8]| match arg {
        [b'#', digits @ ..] => parse_i64(digits).map(|at| at.saturating_mul(64)),
        digits => parse_i64(digits),
    };
    let bits = (4..args.len()).filter_map(|at| end_of(&args[at])).max().unwrap_or(0);
    weighing.string_edit(args, 1, (bits / 8).max(0) as usize + 9)
}

/// Returns how BITFIELD uses its key: it only reads if all its operations are GET or OVERFLOW.
fn bitfield_use(argc: usize, arg: ArgAt<'_>) -> KeySpec {
    let mut at = 2;
    while at < argc {
        at += match &arg(at).to_ascii_lowercase()[..] {
            b"get" => 3,
            b"overflow" => 2,
            _ => argc,
        };
    }
    if at == argc { KeySpec::reads() } else { KeySpec::updates().using_data() }
}

pub(super) static BITFIELD_RO: Command = Command::single(
    bitfield_ro,
    Card::new("bitfield_ro", Group::Bitmap, "6.0.0")
        .summary("Performs arbitrary read-only bitfield integer operations on strings.")
        .complexity("O(1) for each subcommand specified")
        .steady()
        .arity(-2)
        .flags(Flag::READONLY.and(Flag::FAST))
        .keys(&[KeySpec::reads()])
        .args(&[
            Arg::key("key"),
            Arg::block("get-block", &[Arg::string("encoding"), Arg::integer("offset")])
                .after("GET")
                .optional()
                .repeated_with_keyword(),
        ]),
);

/// One operation of a BITFIELD.
struct Step {
    field: Field,
    action: Action,
}

/// What an operation does with a field, and its reply.
enum Action {
    /// Reads the field; replies with its number.
    Get,
    /// Sets the field to a number; replies with the old number.
    Set(i64, Overflow),
    /// Adds a number to the field; replies with the sum.
    Add(i64, Overflow),
}

impl Step {
    /// Returns the reply, and the number in the field before and after the operation. Returns
    /// `None` if the number does not fit and the overflow behaviour is FAIL.
    fn compute(&self, bytes: &[u8]) -> Option<(i64, i64, i64)> {
        let old = self.field.read(bytes);
        match self.action {
            Action::Get => Some((old, old, old)),
            Action::Set(number, overflow) => {
                let wide = wide_number(&self.field, number);
                let new = self.field.fit(wide, overflow)?;
                Some((old, old, new))
            }
            Action::Add(number, overflow) => {
                let new = self.field.fit(i128::from(old) + i128::from(number), overflow)?;
                Some((new, old, new))
            }
        }
    }
}

/// Returns the number that SET puts into a field, before it is checked against the field's range.
fn wide_number(field: &Field, number: i64) -> i128 {
    let (_, max) = field.limits();
    // The reference treats some negative numbers as too large. For an unsigned field these are all
    // negative numbers. For a signed field narrower than 64 bits it is a number whose distance from
    // the field's maximum does not fit a signed 64-bit integer.
    let is_far = field.width < FIELD_BITS_MAX && max - i128::from(number) > i128::from(i64::MAX);
    match !field.is_signed || is_far {
        true => i128::from(number as u64),
        false => i128::from(number),
    }
}

/// Parses the type of a field, such as `i8` or `u63`, into whether it is signed and its width.
fn parse_type(arg: &[u8]) -> Result<(bool, u32), Error> {
    let (is_signed, digits) = match arg {
        [b'i', digits @ ..] => (true, digits),
        [b'u', digits @ ..] => (false, digits),
        _ => (false, &[][..]),
    };
    let widest = i64::from(FIELD_BITS_MAX) - i64::from(!is_signed);
    match parse_i64(digits) {
        Some(width) if (1..=widest).contains(&width) => Ok((is_signed, width as u32)),
        _ => Err(Error::other(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
             supported but i64 is.",
        )),
    }
}

fn parse_overflow(arg: &[u8]) -> Result<Overflow, Error> {
    let names: [(&[u8], Overflow); 3] =
        [(b"WRAP", Overflow::Wrap), (b"SAT", Overflow::Saturate), (b"FAIL", Overflow::Fail)];
    let found = names.into_iter().find(|(name, _)| arg.eq_ignore_ascii_case(name));
    let (_, overflow) = found.ok_or_else(|| Error::other("ERR Invalid OVERFLOW type specified"))?;
    Ok(overflow)
}

fn parse_steps(cx: &Context<'_>, args: &Args<'_>) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at;
        let is = |name: &[u8]| args[at].eq_ignore_ascii_case(name);
        if is(b"OVERFLOW") && left >= 2 {
            overflow = parse_overflow(&args[at + 1])?;
            at += 2;
            continue;
        }
        let (is_get, is_set) = (is(b"GET") && left >= 3, is(b"SET") && left >= 4);
        if !(is_get || is_set || is(b"INCRBY") && left >= 4) {
            return Err(Error::Syntax);
        }
        let (is_signed, width) = parse_type(&args[at + 1])?;
        let offset = parse_offset(cx, &args[at + 2], Some(width))?;
        let field = Field { offset, width, is_signed };
        let action = if is_get {
            Action::Get
        } else if is_set {
            Action::Set(parse_integer(&args[at + 3])?, overflow)
        } else {
            Action::Add(parse_integer(&args[at + 3])?, overflow)
        };
        steps.push(Step { field, action });
        at += if is_get { 3 } else { 4 };
    }
    Ok(steps)
}

fn bitfield(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let steps = parse_steps(cx, args)?;
    let key = cx.key(args, 1);
    if steps.iter().all(|step| matches!(step.action, Action::Get)) {
        return read(cx, &key, &steps);
    }
    write(cx, &key, &steps)
}

fn bitfield_ro(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let steps = parse_steps(cx, args)?;
    if !steps.iter().all(|step| matches!(step.action, Action::Get)) {
        return Err(Error::other("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let key = cx.key(args, 1);
    read(cx, &key, &steps)
}

/// Runs operations that only read.
fn read(cx: &mut Context<'_>, key: &Key<'_>, steps: &[Step]) -> Result<(), Error> {
    let mut buffer = IntText::new();
    let bytes = match cx.slice.lookup(cx.db, key) {
        None => &[],
        Some(view) => view.string().ok_or(Error::WrongType)?.text(&mut buffer),
    };
    cx.reply.array(steps.len());
    for step in steps {
        cx.reply.integer(step.field.read(bytes));
    }
    Ok(())
}

/// Runs operations, at least one of them a write. First extends the string to hold all fields that
/// are written.
fn write(cx: &mut Context<'_>, key: &Key<'_>, steps: &[Step]) -> Result<(), Error> {
    let writes = steps.iter().filter(|step| !matches!(step.action, Action::Get));
    let end = writes.map(|step| step.field.end()).max().expect("at least one operation writes");
    let (bytes, is_longer) = string_for_bits(cx.slice, cx.db, key, end)?;
    cx.reply.array(steps.len());
    let mut changes = 0;
    for step in steps {
        let Some((reply, old, new)) = step.compute(bytes) else {
            cx.reply.null();
            continue;
        };
        cx.reply.integer(reply);
        if !matches!(step.action, Action::Get) {
            step.field.write(bytes, new);
            changes += u64::from(is_longer || old != new);
        }
    }
    if changes > 0 {
        cx.raise(key, Event::SetBit, changes);
    }
    if is_longer && changes == 0 {
        // All writes failed, so the reference counts no change, but the string became longer.
        cx.propagate_always();
    }
    Ok(())
}
