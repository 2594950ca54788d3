//! The options that SET, MSETEX and GETEX share, and what an expiry in words means.

use crate::base::number::parse_i64;
use crate::keyspace::Expiry;
use crate::resp::{Args, Error};

/// When SET sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Always.
    Always,
    /// NX: if there is no such key.
    Absent,
    /// XX: if there is one.
    Present,
    /// IFEQ: if its value is this word.
    Equal(usize),
}

/// What is said of the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Nothing.
    Unspecified,
    /// KEEPTTL, or PERSIST: no number belongs to it.
    Keyword,
    /// A number of this unit, which is the word at the index.
    Given(Unit, usize),
}

/// What an expiry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Millis,
    /// EXAT: Unix seconds.
    UnixSeconds,
    /// PXAT: Unix milliseconds.
    UnixMillis,
}

impl Unit {
    /// The unit that an option names.
    pub(super) fn named(option: &[u8]) -> Option<Unit> {
        if option.eq_ignore_ascii_case(b"EX") {
            Some(Unit::Seconds)
        } else if option.eq_ignore_ascii_case(b"PX") {
            Some(Unit::Millis)
        } else if option.eq_ignore_ascii_case(b"EXAT") {
            Some(Unit::UnixSeconds)
        } else if option.eq_ignore_ascii_case(b"PXAT") {
            Some(Unit::UnixMillis)
        } else {
            None
        }
    }

    /// The moment that `word` names, in Unix milliseconds: a positive number within 63 bits.
    pub(super) fn deadline(self, arg: &[u8], now_ms: u64, command: &str) -> Result<u64, Error> {
        let number = parse_i64(arg).ok_or(Error::NotInteger)?;
        let scale = match self {
            Unit::Seconds | Unit::UnixSeconds => 1_000,
            Unit::Millis | Unit::UnixMillis => 1,
        };
        let start = match self {
            Unit::Seconds | Unit::Millis => now_ms as i64,
            Unit::UnixSeconds | Unit::UnixMillis => 0,
        };
        let at = if number > 0 { number.checked_mul(scale) } else { None };
        let at = at.and_then(|ms| ms.checked_add(start));
        at.map(|at| at as u64).ok_or_else(|| Error::invalid_expire(command))
    }
}

/// The options of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub condition: Condition,
    /// GET: the reply is the value before.
    pub get: bool,
    pub lifetime: Lifetime,
}

impl Options {
    const NONE: Options =
        Options { condition: Condition::Always, get: false, lifetime: Lifetime::Unspecified };

    /// The expiry that they say for `command`, which keeps none unless told so.
    pub(super) fn expiry(
        &self,
        args: &Args<'_>,
        now_ms: u64,
        command: &str,
    ) -> Result<Expiry, Error> {
        Ok(match self.lifetime {
            Lifetime::Unspecified => Expiry::Clear,
            Lifetime::Keyword => Expiry::Keep,
            Lifetime::Given(unit, at) => Expiry::At(unit.deadline(&args[at], now_ms, command)?),
        })
    }

    /// SET's, which begin at word 3.
    pub(super) fn of_set(args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::NONE;
        let mut index = 3;
        while index < args.len() {
            let option = &args[index];
            if option.eq_ignore_ascii_case(b"GET") {
                options.get = true;
            } else if option.eq_ignore_ascii_case(b"IFEQ") && index + 1 < args.len() {
                let equal = Condition::Equal(index + 1);
                options.condition = either(options.condition, Condition::Always, equal)?;
                index += 1;
            } else if !options.take_presence(option)? {
                index += options.take_lifetime(args, index, b"KEEPTTL")?;
            }
            index += 1;
        }
        Ok(options)
    }

    /// MSETEX's, which begin at word `first`.
    pub(super) fn of_msetex(args: &Args<'_>, first: usize) -> Result<Options, Error> {
        let mut options = Options::NONE;
        let mut index = first;
        while index < args.len() {
            if !options.take_presence(&args[index])? {
                index += options.take_lifetime(args, index, b"KEEPTTL")?;
            }
            index += 1;
        }
        Ok(options)
    }

    /// GETEX's, which begin at word 2.
    pub(super) fn of_getex(args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::NONE;
        let mut index = 2;
        while index < args.len() {
            index += 1 + options.take_lifetime(args, index, b"PERSIST")?;
        }
        Ok(options)
    }

    /// Takes NX or XX; false if it is neither.
    fn take_presence(&mut self, option: &[u8]) -> Result<bool, Error> {
        let condition = if option.eq_ignore_ascii_case(b"NX") {
            Condition::Absent
        } else if option.eq_ignore_ascii_case(b"XX") {
            Condition::Present
        } else {
            return Ok(false);
        };
        self.condition = either(self.condition, Condition::Always, condition)?;
        Ok(true)
    }

    /// Takes an option that speaks of the expiry; gives how many words belong to it. The same
    /// one may come again, and then counts alone.
    fn take_lifetime(
        &mut self,
        args: &Args<'_>,
        at: usize,
        keyword: &[u8],
    ) -> Result<usize, Error> {
        let option = &args[at];
        if option.eq_ignore_ascii_case(keyword) {
            self.lifetime = either(self.lifetime, Lifetime::Unspecified, Lifetime::Keyword)?;
            return Ok(0);
        }
        let Some(unit) = Unit::named(option) else { return Err(Error::Syntax) };
        let is_first = match self.lifetime {
            Lifetime::Unspecified => true,
            Lifetime::Keyword => false,
            Lifetime::Given(other, _) => other == unit,
        };
        if !is_first || at + 1 >= args.len() {
            return Err(Error::Syntax);
        }
        self.lifetime = Lifetime::Given(unit, at + 1);
        Ok(1)
    }
}

/// `new`, if what is there already is nothing or the same.
fn either<T: PartialEq>(old: T, nothing: T, new: T) -> Result<T, Error> {
    if old == nothing || old == new { Ok(new) } else { Err(Error::Syntax) }
}
