//! What the commands on several fields have in common: `FIELDS number field...`, conditions, and
//! expiries.

use crate::base::number::parse_i64;
use crate::resp::{Args, Error};

/// What is said when the number of fields is not that of the words behind it.
const FIELDS_MISMATCH: &str =
    "ERR numfields should be greater than 0 and match the provided number of fields";

/// Where the word FIELDS stands, and what is said of the fields behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// The word FIELDS itself.
    pub(super) word: usize,
    /// The first field.
    pub(super) first: usize,
}

/// Why fields are not taken.
pub(super) fn mismatch() -> Error {
    Error::other(FIELDS_MISMATCH)
}

impl Fields {
    /// `FIELDS number field...` right behind the key; `refusal` is said if the number is wrong.
    pub(super) fn behind_key(args: &Args<'_>, refusal: fn() -> Error) -> Result<Fields, Error> {
        if !args[2].eq_ignore_ascii_case(b"FIELDS") {
            return Err(Error::Syntax);
        }
        Fields { word: 2, first: 4 }.counted(args, 1, refusal)
    }

    /// The first word FIELDS from word `from` on, with at least one word behind it.
    pub(super) fn find(args: &Args<'_>, from: usize) -> Result<Fields, Error> {
        let mut words = from..args.len() - 1;
        let word = words.find(|&word| args[word].eq_ignore_ascii_case(b"FIELDS"));
        word.map(|word| Fields { word, first: word + 2 }).ok_or_else(mismatch)
    }

    /// Itself, if the number before the first field is that of the fields, of so many words each.
    pub(super) fn counted(
        self,
        args: &Args<'_>,
        words_each: i64,
        refusal: fn() -> Error,
    ) -> Result<Fields, Error> {
        let number = parse_i64(&args[self.first - 1]).ok_or(Error::NotInteger)?;
        let words = (args.len() - self.first) as i64;
        let is_right = number > 0 && number.checked_mul(words_each) == Some(words);
        if is_right { Ok(self) } else { Err(refusal()) }
    }
}

/// What an expiry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Milliseconds of one.
    pub(super) scale: i64,
    /// Whether it is counted from now on, and not from 1970.
    pub(super) is_relative: bool,
}

impl Unit {
    /// The unit that an option names.
    fn named(option: &[u8]) -> Option<Unit> {
        const UNITS: [(&[u8], Unit); 4] = [
            (b"EX", Unit { scale: 1_000, is_relative: true }),
            (b"PX", Unit { scale: 1, is_relative: true }),
            (b"EXAT", Unit { scale: 1_000, is_relative: false }),
            (b"PXAT", Unit { scale: 1, is_relative: false }),
        ];
        UNITS.iter().find(|(name, _)| option.eq_ignore_ascii_case(name)).map(|&(_, unit)| unit)
    }

    /// The moment that `word` names, in Unix milliseconds: a number within 63 bits, 0 included.
    pub(super) fn deadline(self, word: &[u8], now_ms: u64, command: &str) -> Result<u64, Error> {
        let number = parse_i64(word).ok_or(Error::NotInteger)?;
        let start = if self.is_relative { now_ms as i64 } else { 0 };
        let at = if number >= 0 { number.checked_mul(self.scale) } else { None };
        let at = at.and_then(|ms| ms.checked_add(start));
        at.map(|at| at as u64).ok_or_else(|| Error::invalid_expire(command))
    }
}

/// What is said of the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Nothing.
    Unsaid,
    /// KEEPTTL, or PERSIST: no number belongs to it.
    Word,
    /// A number of this unit, which is the word at the index.
    Given(Unit, usize),
}

/// Whether a thing has to be there, or must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Either way.
    Any,
    /// NX, FNX: it is not there.
    Absent,
    /// XX, FXX: it is there.
    Present,
}

impl Presence {
    /// Takes one more condition; not both.
    fn take(&mut self, new: Presence) -> Result<(), Error> {
        if *self != Presence::Any && *self != new {
            return Err(Error::Syntax);
        }
        *self = new;
        Ok(())
    }
}

/// The options of HSETEX and HGETEX, which stand between key and FIELDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// What HSETEX demands of the key.
    pub(super) key: Presence,
    /// What it demands of all fields.
    pub(super) fields: Presence,
    /// What becomes of the expiry.
    pub(super) lifetime: Lifetime,
}

impl Options {
    /// HSETEX's, before the word at `end`.
    pub(super) fn of_hsetex(args: &Args<'_>, end: usize) -> Result<Options, Error> {
        Options::of(args, end, b"KEEPTTL", true)
    }

    /// HGETEX's, before the word at `end`.
    pub(super) fn of_hgetex(args: &Args<'_>, end: usize) -> Result<Options, Error> {
        Options::of(args, end, b"PERSIST", false)
    }

    fn of(args: &Args<'_>, end: usize, word: &[u8], sets: bool) -> Result<Options, Error> {
        let (key, fields) = (Presence::Any, Presence::Any);
        let mut options = Options { key, fields, lifetime: Lifetime::Unsaid };
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
            } else if is(word) {
                if matches!(options.lifetime, Lifetime::Given(..)) {
                    return Err(Error::Syntax);
                }
                options.lifetime = Lifetime::Word;
            } else {
                let unit = Unit::named(option).ok_or(Error::Syntax)?;
                let is_first = match options.lifetime {
                    Lifetime::Unsaid => true,
                    Lifetime::Word => false,
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
