//! Arguments that the commands on several fields have in common: `FIELDS number field...`,
//! conditions, and expiries.

use crate::base::number::parse_i64;
use crate::resp::{Args, Error};

/// The error if the given number of fields differs from the actual number.
const FIELDS_MISMATCH: &str =
    "ERR numfields should be greater than 0 and match the provided number of fields";

/// The position of the keyword FIELDS and of the fields after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// The index of the keyword FIELDS.
    pub(super) keyword: usize,
    /// The index of the first field.
    pub(super) first: usize,
}

/// Returns the error for a wrong number of fields.
pub(super) fn mismatch() -> Error {
    Error::other(FIELDS_MISMATCH)
}

impl Fields {
    /// Parses `FIELDS number field...` directly after the key. Returns `refusal` if the number is
    /// wrong.
    pub(super) fn behind_key(args: &Args<'_>, refusal: fn() -> Error) -> Result<Fields, Error> {
        if !args[2].eq_ignore_ascii_case(b"FIELDS") {
            return Err(Error::Syntax);
        }
        Fields { keyword: 2, first: 4 }.counted(args, 1, refusal)
    }

    /// Finds the first keyword FIELDS from argument `from` on that has at least one argument after
    /// it.
    pub(super) fn find(args: &Args<'_>, from: usize) -> Result<Fields, Error> {
        let mut candidates = from..args.len() - 1;
        let keyword = candidates.find(|&at| args[at].eq_ignore_ascii_case(b"FIELDS"));
        keyword.map(|keyword| Fields { keyword, first: keyword + 2 }).ok_or_else(mismatch)
    }

    /// Returns `self` if the given number of fields is right. Each field takes `args_each`
    /// arguments.
    pub(super) fn counted(
        self,
        args: &Args<'_>,
        args_each: i64,
        refusal: fn() -> Error,
    ) -> Result<Fields, Error> {
        let number = parse_i64(&args[self.first - 1]).ok_or(Error::NotInteger)?;
        let field_args = (args.len() - self.first) as i64;
        let is_right = number > 0 && number.checked_mul(args_each) == Some(field_args);
        if is_right { Ok(self) } else { Err(refusal()) }
    }
}

/// The unit of an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Milliseconds per unit.
    pub(super) scale: i64,
    /// Whether the expiry is relative to now, instead of absolute Unix time.
    pub(super) is_relative: bool,
}

impl Unit {
    /// Returns the unit that an option names.
    fn named(option: &[u8]) -> Option<Unit> {
        const UNITS: [(&[u8], Unit); 4] = [
            (b"EX", Unit { scale: 1_000, is_relative: true }),
            (b"PX", Unit { scale: 1, is_relative: true }),
            (b"EXAT", Unit { scale: 1_000, is_relative: false }),
            (b"PXAT", Unit { scale: 1, is_relative: false }),
        ];
        UNITS.iter().find(|(name, _)| option.eq_ignore_ascii_case(name)).map(|&(_, unit)| unit)
    }

    /// Returns the expiry that `arg` gives, in Unix milliseconds. It must be in 0..2^63.
    pub(super) fn deadline(self, arg: &[u8], now_ms: u64, command: &str) -> Result<u64, Error> {
        let number = parse_i64(arg).ok_or(Error::NotInteger)?;
        let start = if self.is_relative { now_ms as i64 } else { 0 };
        let at = if number >= 0 { number.checked_mul(self.scale) } else { None };
        let at = at.and_then(|ms| ms.checked_add(start));
        at.map(|at| at as u64).ok_or_else(|| Error::invalid_expire(command))
    }
}

/// The option about the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// No option.
    Unset,
    /// KEEPTTL or PERSIST, which has no number.
    Keyword,
    /// A number in this unit; the second value is the index of the argument.
    Given(Unit, usize),
}

/// A condition on whether something exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// No condition.
    Any,
    /// NX, FNX: it must not exist.
    Absent,
    /// XX, FXX: it must exist.
    Present,
}

impl Presence {
    /// Adds a condition. Refuses a combination of both conditions.
    fn take(&mut self, new: Presence) -> Result<(), Error> {
        if *self != Presence::Any && *self != new {
            return Err(Error::Syntax);
        }
        *self = new;
        Ok(())
    }
}

/// The options of HSETEX and HGETEX, between the key and the keyword FIELDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The condition of HSETEX on the key.
    pub(super) key: Presence,
    /// The condition of HSETEX on all fields.
    pub(super) fields: Presence,
    /// The option about the expiry.
    pub(super) lifetime: Lifetime,
}

impl Options {
    /// Parses the options of HSETEX before the argument `end`.
    pub(super) fn of_hsetex(args: &Args<'_>, end: usize) -> Result<Options, Error> {
        Options::of(args, end, b"KEEPTTL", true)
    }

    /// Parses the options of HGETEX before the argument `end`.
    pub(super) fn of_hgetex(args: &Args<'_>, end: usize) -> Result<Options, Error> {
        Options::of(args, end, b"PERSIST", false)
    }

    fn of(args: &Args<'_>, end: usize, keyword: &[u8], sets: bool) -> Result<Options, Error> {
        let (key, fields) = (Presence::Any, Presence::Any);
        let mut options = Options { key, fields, lifetime: Lifetime::Unset };
        let mut index = 2;
        while index < end {
            let option = &args[index];
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            if sets && is(b"NX") {
                options.key.take(Presence::Absent)?;
            } else if sets && is(b"XX") {
                options.key.take(Presence::Present)?;
            } else if sets && is(b"FNX") {
                options.fields.take(Presence::Absent)?;
            } else if sets && is(b"FXX") {
                options.fields.take(Presence::Present)?;
            } else if is(keyword) {
                if matches!(options.lifetime, Lifetime::Given(..)) {
                    return Err(Error::Syntax);
                }
                options.lifetime = Lifetime::Keyword;
            } else {
                let unit = Unit::named(option).ok_or(Error::Syntax)?;
                let is_first = match options.lifetime {
                    Lifetime::Unset => true,
                    Lifetime::Keyword => false,
                    Lifetime::Given(other, _) => other == unit,
                };
                if !is_first || index + 1 >= end {
                    return Err(Error::Syntax);
                }
                index += 1;
                options.lifetime = Lifetime::Given(unit, index);
            }
            index += 1;
        }
        Ok(options)
    }
}
