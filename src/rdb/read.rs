//! Decoding of values. They are created by the same functions that commands use. So the
//! configuration decides their encoding, whatever form they had in the file.
//!
//! Everything is checked: duplicate elements, scores that are not numbers and inconsistent bytes
//! are rejected.

use super::decode::{Decoder, Fault, Text};
use super::form::{Dialect, Form};
use super::limits::Limits;
use super::old::{self, Broken};
use crate::base::number::parse_f64;
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::set::Set;
use crate::value::sorted_set::{Put, SortedSet};
use crate::value::string::IntText;
use crate::value::{Container, Item, Object, listpack};

/// The value of a key.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// A string.
    String(Text<'a>),
    /// A value of several elements.
    Object(Object),
}

/// The rules for decoding values.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'c> {
    /// Size limits of the compact encodings.
    pub limits: &'c Limits,
    /// Hash fields that expire before this time (Unix milliseconds) are dropped. `None` keeps all.
    pub due_before_ms: Option<u64>,
}

/// Numbers before the nodes of a list: one large item, or a listpack.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

impl From<Broken> for Fault {
    fn from(_: Broken) -> Fault {
        Fault::Corrupt("inconsistent packed bytes")
    }
}

const TWICE: Fault = Fault::Corrupt("Duplicate elements detected");
const NO_SCORE: Fault = Fault::Corrupt("Zset with NAN score detected");
const ODD: Fault = Fault::Corrupt("an element without its pair");
const NO_TIME: Fault = Fault::Corrupt("an invalid expiry");
const NO_NODE: Fault = Fault::Corrupt("an unknown kind of list node");

/// Validates a listpack and returns its items.
pub(super) fn listpack_items(bytes: &[u8]) -> Result<listpack::Iter<'_>, Fault> {
    match listpack::validate(bytes, true) {
        Some(_) => Ok(listpack::iter(bytes)),
        None => Err(Fault::Corrupt("an inconsistent listpack")),
    }
}

impl<'c> Reading<'c> {
    /// Decodes a value, which must be exactly these bytes.
    pub fn value<'a>(&self, form: Form, bytes: &'a [u8]) -> Result<Value<'a>, Fault> {
        let mut from = Decoder::new(bytes, Dialect::Common);
        let value = self.next(form, &mut from)?;
        if !from.rest.is_empty() {
            return Err(Fault::Corrupt("bytes after a value"));
        }
        Ok(value)
    }

    /// Decodes a payload without its footer: a type and a value. Ignores further bytes.
    pub fn payload<'a>(&self, dialect: Dialect, body: &'a [u8]) -> Result<Value<'a>, Fault> {
        let mut from = Decoder::new(body, dialect);
        let number = from.byte()?;
        let form = Form::of(number, dialect).ok_or(Fault::Kind(number))?;
        self.next(form, &mut from)
    }

    /// Decodes the next value.
    pub(super) fn next<'a>(&self, form: Form, from: &mut Decoder<'a>) -> Result<Value<'a>, Fault> {
        self.made(form, from).map_err(|fault| match (fault, form.broken()) {
            (Fault::Corrupt(_), Some(why)) if fault != NO_SCORE => Fault::Corrupt(why),
            _ => fault,
        })
    }

    fn made<'a>(&self, form: Form, from: &mut Decoder<'a>) -> Result<Value<'a>, Fault> {
        let object = match form {
            Form::String => return Ok(Value::String(from.text()?)),
            Form::List | Form::ListZiplist | Form::ListZiplists | Form::ListListpacks => {
                filled(self.list(form, from)?)?
            }
            Form::Set | Form::SetIntset | Form::SetListpack => filled(self.set(form, from)?)?,
            Form::SortedSetText
            | Form::SortedSet
            | Form::SortedSetZiplist
            | Form::SortedSetListpack => filled(self.sorted_set(form, from)?)?,
            Form::Hash
            | Form::HashZipmap
            | Form::HashZiplist
            | Form::HashListpack
            | Form::HashExpiry
            | Form::HashExpiryFirst { .. }
            | Form::HashExpiryListpack { .. } => self.hash(form, from)?,
            Form::Stream(version) => Box::new(from.stream(version)?).into_object(),
            Form::Module { .. } => {
                from.skip_value(form)?;
                return Err(Fault::Module(0));
            }
        };
        Ok(Value::Object(object))
    }

    fn list(&self, form: Form, from: &mut Decoder<'_>) -> Result<List, Fault> {
        let limits = &self.limits.list;
        let mut list = List::large(limits);
        let buffer = &mut IntText::new();
        match form {
            Form::ListZiplist => ziplist_list(from, limits, &mut list)?,
            Form::List => each(from, |from| {
                list.push(End::Right, from.text()?.bytes(buffer), limits);
                Ok(())
            })?,
            Form::ListZiplists => each(from, |from| ziplist_list(from, limits, &mut list))?,
            _ => each(from, |from| {
                let node = from.length()?;
                let text = from.text()?;
                let bytes = text.bytes(buffer);
                match node {
                    NODE_PLAIN if !bytes.is_empty() => list.add_plain(bytes, limits),
                    NODE_PACKED => {
                        listpack_items(bytes)?;
                        list.add_packed(bytes, limits);
                    }
                    _ => return Err(NO_NODE),
                }
                Ok(())
            })?,
        }
        list.settle_new(limits);
        Ok(list)
    }

    fn set(&self, form: Form, from: &mut Decoder<'_>) -> Result<Set, Fault> {
        let limits = &self.limits.set;
        let mut set = match form {
            Form::SetListpack => Set::packed(),
            _ => Set::of_ints(),
        };
        if form == Form::Set {
            set.expect(from.count_ahead(), limits);
        }
        let buffer = &mut IntText::new();
        let mut add = |member: &[u8]| {
            if set.insert(member, limits) { Ok(()) } else { Err(TWICE) }
        };
        match form {
            Form::Set => each(from, |from| add(from.text()?.bytes(buffer)))?,
            Form::SetIntset => {
                let packed = from.text()?;
                for number in old::intset(packed.bytes(buffer))? {
                    add(IntText::new().format(number).as_bytes())?;
                }
            }
            _ => {
                let packed = from.text()?;
                let mut digits = IntText::new();
                for item in listpack_items(packed.bytes(buffer))? {
                    add(item.text(&mut digits))?;
                }
            }
        }
        Ok(set)
    }

    fn sorted_set(&self, form: Form, from: &mut Decoder<'_>) -> Result<SortedSet, Fault> {
        let mut set = SortedSet::default();
        let limits = &self.limits.sorted_set;
        let buffer = &mut IntText::new();
        let mut negative_zeros: Vec<Box<[u8]>> = Vec::new();
        let mut put = |member: &[u8], score: f64| {
            if score.is_nan() {
                return Err(NO_SCORE);
            }
            if score == 0.0 && score.is_sign_negative() && set.is_packed() {
                negative_zeros.push(member.into());
            }
            if set.put(member, score, limits) == Put::New { Ok(()) } else { Err(TWICE) }
        };
        match form {
            Form::SortedSet => each(from, |from| {
                let member = from.text()?;
                put(member.bytes(buffer), f64::from_le_bytes(from.array()?))
            })?,
            Form::SortedSetText => each(from, |from| {
                let member = from.text()?;
                let score = from.score_text()?;
                put(member.bytes(buffer), score)
            })?,
            _ => {
                let packed = from.text()?;
                let mut digits = IntText::new();
                pairs(form == Form::SortedSetZiplist, packed.bytes(buffer), |member, score| {
                    let score = match score {
                        Item::Int(number) => number as f64,
                        Item::Bytes(text) => parse_f64(text).ok_or(NO_SCORE)?,
                    };
                    put(member.text(&mut digits), score)
                })?;
            }
        }
        // Only the large form keeps the sign of a zero, and these came before the set was large.
        if !set.is_packed() {
            for member in negative_zeros {
                set.remove(&member);
                set.put(&member, -0.0, limits);
            }
        }
        Ok(set)
    }

    fn hash(&self, form: Form, from: &mut Decoder<'_>) -> Result<Object, Fault> {
        let mut hash = Hash::default();
        let mut has_expired = false;
        let limits = &self.limits.hash;
        if form == Form::Hash {
            hash.expect(from.count_ahead(), limits);
        }
        let mut set = |name: &[u8], value: &[u8], expiry: Option<u64>| {
            if expiry.is_some_and(|at| self.due_before_ms.is_some_and(|limit_ms| at < limit_ms)) {
                has_expired = true;
                return Ok(());
            }
            if hash.set(name, value, expiry, limits) { Ok(()) } else { Err(TWICE) }
        };
        let (buffer, other) = (&mut IntText::new(), &mut IntText::new());
        match form {
            Form::Hash => each(from, |from| {
                let (name, value) = (from.text()?, from.text()?);
                set(name.bytes(buffer), value.bytes(other), None)
            })?,
            Form::HashExpiry => each(from, |from| {
                let (name, value) = (from.text()?, from.text()?);
                let expiry = match i64::from_le_bytes(from.array()?) {
                    -1 => None,
                    at => Some(u64::try_from(at).map_err(|_| NO_TIME)?),
                };
                set(name.bytes(buffer), value.bytes(other), expiry)
            })?,
            Form::HashExpiryFirst { has_base } => {
                let base = if has_base { u64::from_le_bytes(from.array()?) } else { 0 };
                each(from, |from| {
                    let after = from.length()?;
                    let (name, value) = (from.text()?, from.text()?);
                    set(
                        name.bytes(buffer),
                        value.bytes(other),
                        expiry_after(base, after, has_base)?,
                    )
                })?;
            }
            Form::HashExpiryListpack { has_base } => {
                from.take(if has_base { size_of::<u64>() } else { 0 })?;
                let packed = from.text()?;
                for_each_third(packed.bytes(buffer), |[name, value, at]| {
                    let (Item::Int(at), mut digits) = (at, IntText::new()) else {
                        return Err(NO_TIME);
                    };
                    let at = u64::try_from(at).map_err(|_| NO_TIME)?;
                    let expiry = expiry_after(0, at, false)?;
                    set(name.text(&mut digits), value.text(other), expiry)
                })?;
            }
            Form::HashZipmap => {
                let packed = from.text()?;
                let add = &mut |name: &[u8], value: &[u8]| set(name, value, None);
                old::zipmap(packed.bytes(buffer), add)?;
            }
            _ => {
                let packed = from.text()?;
                let mut digits = IntText::new();
                pairs(form == Form::HashZiplist, packed.bytes(buffer), |name, value| {
                    set(name.text(&mut digits), value.text(other), None)
                })?;
            }
        }
        if hash.is_empty() && has_expired {
            return Err(Fault::Expired);
        }
        filled(hash)
    }
}

/// The latest time, in Unix milliseconds, at which a field may expire in Redis: 48 bits.
const EXPIRY_MAX: u64 = (1 << 48) - 2;

/// Returns when a field expires. In Redis's form, 0 means never; other numbers are relative to
/// `base`, counted from 1.
fn expiry_after(base: u64, after: u64, has_base: bool) -> Result<Option<u64>, Fault> {
    if after == 0 {
        return Ok(None);
    }
    let at = base.checked_add(after - u64::from(has_base)).ok_or(NO_TIME)?;
    if at > EXPIRY_MAX { Err(NO_TIME) } else { Ok(Some(at)) }
}

/// Returns a value of several elements as an object; fails if the value is empty.
fn filled<T: Container>(value: T) -> Result<Object, Fault> {
    if value.is_void() { Err(Fault::Empty) } else { Ok(Box::new(value).into_object()) }
}

/// Reads a length, and then this number of elements.
pub(super) fn each<'a>(
    from: &mut Decoder<'a>,
    read: impl FnMut(&mut Decoder<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let count = from.length()?;
    from.repeat(count, read)
}

/// Appends the items of a ziplist to a list.
fn ziplist_list(
    from: &mut Decoder<'_>,
    limits: &crate::value::list::Limits,
    list: &mut List,
) -> Result<(), Fault> {
    let packed = from.text()?;
    let mut digits = IntText::new();
    old::ziplist(packed.bytes(&mut IntText::new()), &mut |item| {
        list.push(End::Right, item.text(&mut digits), limits);
        Ok(())
    })
}

/// Visits the items of a listpack three by three.
fn for_each_third<'a>(
    bytes: &'a [u8],
    mut show: impl FnMut([Item<'a>; 3]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut items = listpack_items(bytes)?;
    while let Some(first) = items.next() {
        let (Some(second), Some(third)) = (items.next(), items.next()) else { return Err(ODD) };
        show([first, second, third])?;
    }
    Ok(())
}

/// Visits the items of a ziplist or listpack two by two.
fn pairs<'a>(
    is_ziplist: bool,
    bytes: &'a [u8],
    mut show: impl FnMut(Item<'a>, Item<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut first = None;
    let mut take = |item: Item<'a>| match first.take() {
        None => {
            first = Some(item);
            Ok(())
        }
        Some(first) => show(first, item),
    };
    if is_ziplist {
        old::ziplist(bytes, &mut take)?;
    } else {
        listpack_items(bytes)?.try_for_each(&mut take)?;
    }
    if first.is_some() { Err(ODD) } else { Ok(()) }
}

impl Decoder<'_> {
    /// Returns the number of elements from the next length, at most the number of bytes left.
    fn count_ahead(&self) -> usize {
        let count = self.clone().length().unwrap_or(0);
        usize::try_from(count).unwrap_or(usize::MAX).min(self.rest.len())
    }

    /// Reads a score as text: its length and digits, or a marker for infinity and NaN.
    pub(super) fn score_text(&mut self) -> Result<f64, Fault> {
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Ok(f64::NAN),
            len => {
                let text = self.take(usize::from(len))?;
                parse_f64(text.trim_ascii_start()).ok_or(NO_SCORE)
            }
        }
    }
}
