//! SORT: the elements of a value in an order.

use super::list::limits;
use crate::base::number::{parse_f64, parse_i64};
use crate::base::order::sort_part;
use crate::exec::{Command, Context};
use crate::keyspace::{Expiry, View};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group, KeySpec};
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::string::IntText;
use crate::value::{Container, Kind};
use std::cmp::Ordering;
use std::ops::Range;

/// The SORT commands.
pub static FAMILY: &[&Command] = &[&SORT, &SORT_RO];

const BY_AND_GET: KeySpec = KeySpec::reads().somewhere().note(
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the \
     content of the key we sort",
);

const STORE: KeySpec =
    KeySpec::overwrites().after_option("STORE", 2, &[("LIMIT", 2), ("GET", 1), ("BY", 1)]).note(
        "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear \
         anywhere in the argument array",
    );

static SORT: Command = Command::discovers(
    sort,
    has_patterns,
    Card::new("sort", Group::Generic, "1.0.0")
        .summary(
            "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
        )
        .complexity(
            "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M \
             the number of returned elements. When the elements are not sorted, complexity is \
             O(N).",
        )
        .arity(-2)
        .flags(Flag::WRITE.and(Flag::DENYOOM).and(Flag::MOVABLEKEYS))
        .categories(&[Category::Set, Category::SortedSet, Category::List, Category::Dangerous])
        .keys(&[KeySpec::reads(), BY_AND_GET, STORE]),
)
.offload();

/// Returns whether a pattern among the arguments may name other keys.
fn has_patterns(args: &Args<'_>) -> bool {
    Wish::parse(args, true).is_ok_and(|wish| {
        let patterns = wish.by.iter().chain(&wish.gets);
        patterns.copied().any(|pattern| pattern.contains(&b'*'))
    })
}

fn sort(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, true)
}

static SORT_RO: Command = Command::discovers(
    sort_ro,
    has_patterns,
    Card::new("sort_ro", Group::Generic, "7.0.0")
        .summary("Returns the sorted elements of a list, a set, or a sorted set.")
        .complexity(
            "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M \
             the number of returned elements. When the elements are not sorted, complexity is \
             O(N).",
        )
        .arity(-2)
        .flags(Flag::READONLY.and(Flag::MOVABLEKEYS))
        .categories(&[Category::Set, Category::SortedSet, Category::List, Category::Dangerous])
        .keys(&[KeySpec::reads(), BY_AND_GET]),
)
.offload();

fn sort_ro(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, false)
}

/// What is asked for.
struct Wish<'w> {
    /// BY: the pattern of the keys whose values say the order.
    by: Option<&'w [u8]>,
    /// BY with a pattern that names one key only: there is no order.
    is_unsorted: bool,
    /// LIMIT: how many are left out, and how many come then; negative: all.
    limit: [i64; 2],
    /// GET: what is given in the place of an element.
    gets: Vec<&'w [u8]>,
    is_descending: bool,
    /// Texts are compared, and not numbers.
    is_alpha: bool,
    /// STORE: the word of the key that gets the result.
    store: Option<usize>,
}

impl<'w> Wish<'w> {
    fn parse(args: &'w Args<'_>, may_store: bool) -> Result<Wish<'w>, Error> {
        let mut wish = Wish {
            by: None,
            is_unsorted: false,
            limit: [0, -1],
            gets: Vec::new(),
            is_descending: false,
            is_alpha: false,
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            let option = &args[at];
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            let left = args.len() - at - 1;
            if is("ASC") || is("DESC") {
                wish.is_descending = is("DESC");
            } else if is("ALPHA") {
                wish.is_alpha = true;
            } else if is("LIMIT") && left >= 2 {
                let number = |at: usize| parse_i64(&args[at]).ok_or(Error::NotInteger);
                wish.limit = [number(at + 1)?, number(at + 2)?];
                at += 2;
            } else if is("STORE") && may_store && left >= 1 {
                wish.store = Some(at + 1);
                at += 1;
            } else if is("BY") && left >= 1 {
                let pattern = &args[at + 1];
                wish.by = Some(pattern);
                wish.is_unsorted |= !pattern.contains(&b'*');
                at += 1;
            } else if is("GET") && left >= 1 {
                wish.gets.push(&args[at + 1]);
                at += 1;
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        Ok(wish)
    }

    /// The places of the result among `len` elements.
    fn range(&self, len: usize) -> Range<usize> {
        let within = |number: i64| usize::try_from(number).map_or(0, |number| number.min(len));
        let start = within(self.limit[0]);
        let end = if self.limit[1] < 0 { len } else { (start + within(self.limit[1])).min(len) };
        start..end
    }
}

/// An element, and what it is sorted by.
struct Element {
    text: Vec<u8>,
    number: f64,
    by: Option<Vec<u8>>,
}

fn run(cx: &mut Context<'_>, args: &Args<'_>, may_store: bool) -> Result<(), Error> {
    let mut wish = Wish::parse(args, may_store)?;
    let key = cx.key(args, 1);
    let view = cx.slice.lookup(cx.db, &key);
    let kind = match &view {
        None => Kind::List,
        Some(view) => view.kind(),
    };
    // A set has no order of its own: what is stored shall be the same everywhere.
    if wish.is_unsorted && kind == Kind::Set && wish.store.is_some() {
        (wish.is_unsorted, wish.is_alpha, wish.by) = (false, true, None);
    }
    let (texts, range) = match view {
        None => (Vec::new(), 0..0),
        Some(view) => texts_of(&view, &wish)?,
    };
    let element = |text| Element { text, number: 0.0, by: None };
    let mut elements: Vec<Element> = texts.into_iter().map(element).collect();
    if !wish.is_unsorted {
        let is_readable = weigh(cx, &wish, &mut elements);
        let is_stored = wish.store.is_some();
        if !is_readable {
            let text = "ERR One or more scores can't be converted into double";
            return Err(Error::other(text));
        }
        let order = |a: &Element, b: &Element| {
            let order = compare(a, b, &wish, is_stored);
            if wish.is_descending { order.reverse() } else { order }
        };
        // How equal ones come out is to be seen: the reference sorts only the wanted part by keys.
        if wish.by.is_some() && range != (0..elements.len()) {
            sort_part(&mut elements, range.clone(), &order);
        } else {
            elements.sort_by(order);
        }
    }
    let chosen = &elements[range];
    match wish.store {
        None => reply(cx, &wish.gets, chosen),
        Some(word) => store(cx, args, word, &wish.gets, chosen),
    }
    Ok(())
}

/// The elements, and which of them are wanted once they are in order. Where the value's own order
/// counts, no others are taken.
fn texts_of(view: &View<'_>, wish: &Wish<'_>) -> Result<(Vec<Vec<u8>>, Range<usize>), Error> {
    let all = |len: usize| if wish.is_unsorted { wish.range(len) } else { 0..len };
    let texts: Vec<Vec<u8>> = if let Some(list) = view.object::<List>() {
        let (range, len) = (all(list.len()), list.len());
        if wish.is_unsorted && wish.is_descending && !range.is_empty() {
            let items = list.iter_back_from(len - 1 - range.start);
            items.take(range.len()).map(|item| item.to_vec()).collect()
        } else {
            list.iter_from(range.start).take(range.len()).map(|item| item.to_vec()).collect()
        }
    } else if let Some(set) = view.object::<SortedSet>() {
        let (range, len) = (all(set.len()), set.len());
        if wish.is_unsorted && wish.is_descending && !range.is_empty() {
            let items = set.iter_back_from(len - 1 - range.start);
            items.take(range.len()).map(|(item, _)| item.to_vec()).collect()
        } else {
            let items = set.iter_from(range.start);
            items.take(range.len()).map(|(item, _)| item.to_vec()).collect()
        }
    } else if let Some(set) = view.object::<Set>() {
        let texts: Vec<_> = set.iter().map(|item| item.to_vec()).collect();
        let range = wish.range(texts.len());
        return Ok((texts, range));
    } else {
        return Err(Error::WrongType);
    };
    let range = if wish.is_unsorted { 0..texts.len() } else { wish.range(texts.len()) };
    Ok((texts, range))
}

/// Finds out by what each element is sorted; false if something should be a number and is none.
fn weigh(cx: &mut Context<'_>, wish: &Wish<'_>, elements: &mut [Element]) -> bool {
    let mut is_readable = true;
    for element in elements {
        if let Some(pattern) = wish.by {
            element.by = lookup(cx, pattern, &element.text);
        }
        if wish.is_alpha {
            continue;
        }
        let text = match wish.by {
            None => Some(&element.text),
            Some(_) => element.by.as_ref(),
        };
        // What is not there counts as 0.
        let Some(text) = text else { continue };
        match score_of(text) {
            Some(number) => element.number = number,
            None => is_readable = false,
        }
    }
    is_readable
}

/// The number of a text, which ends at a NUL.
fn score_of(text: &[u8]) -> Option<f64> {
    parse_f64(until_nul(text))
}

fn compare(a: &Element, b: &Element, wish: &Wish<'_>, is_stored: bool) -> Ordering {
    if !wish.is_alpha {
        let by_number = a.number.partial_cmp(&b.number).expect("numbers");
        return by_number.then_with(|| a.text.cmp(&b.text));
    }
    // What goes to clients is compared as the C locale does, where a NUL ends a text.
    let texts = |a: &[u8], b: &[u8]| match is_stored {
        true => a.cmp(b),
        false => until_nul(a).cmp(until_nul(b)),
    };
    match (wish.by, &a.by, &b.by) {
        (None, _, _) => texts(&a.text, &b.text),
        (Some(_), Some(a), Some(b)) => texts(a, b),
        (Some(_), a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn until_nul(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    &text[..end]
}

/// What a pattern means for an element: itself, a string, or a field of a hash.
fn lookup(cx: &mut Context<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = memchr::memchr(b'*', pattern)?;
    let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = memchr::memmem::find(behind, b"->").filter(|at| at + 2 < behind.len());
    let (behind, field) = match arrow {
        None => (behind, None),
        Some(at) => (&behind[..at], Some(&behind[at + 2..])),
    };
    let name = [before, element, behind].concat();
    if !cx.reaches(&name) {
        return None;
    }
    let key = cx.slice.key(&name);
    let view = cx.slice.lookup(cx.db, &key)?;
    let Some(field) = field else {
        return view.string().map(|value| value.text(&mut IntText::new()).to_vec());
    };
    let field = view.object::<Hash>()?.get(field)?;
    let (value, expiry) = (field.value.to_vec(), field.expiry);
    (!expiry.is_some_and(|at| cx.slice.is_past(at))).then_some(value)
}

/// The values that stand for an element in the result.
fn values(cx: &mut Context<'_>, gets: &[&[u8]], element: &Element) -> Vec<Option<Vec<u8>>> {
    gets.iter().map(|pattern| lookup(cx, pattern, &element.text)).collect()
}

fn reply(cx: &mut Context<'_>, gets: &[&[u8]], elements: &[Element]) {
    cx.reply.array(elements.len() * gets.len().max(1));
    for element in elements {
        if gets.is_empty() {
            cx.reply.bulk(&element.text);
        }
        for value in values(cx, gets, element) {
            match value {
                Some(value) => cx.reply.bulk(&value),
                None => cx.reply.null(),
            }
        }
    }
}

fn store(cx: &mut Context<'_>, args: &Args<'_>, word: usize, gets: &[&[u8]], elements: &[Element]) {
    let limits = limits(cx.config);
    let mut list = List::large(&limits);
    for element in elements {
        if gets.is_empty() {
            list.add(End::Right, &element.text);
        }
        for value in values(cx, gets, element) {
            list.add(End::Right, &value.unwrap_or_default());
        }
    }
    if cx.is_short() {
        return cx.reply.integer(0);
    }
    list.settle_new(&limits);
    let (key, len) = (cx.key(args, word), list.len());
    if len > 0 {
        cx.slice.set_object(cx.db, &key, Box::new(list).into_object(), Expiry::Clear);
        cx.effects.changes += len as u64;
    } else if cx.slice.remove(cx.db, &key) {
        cx.effects.changes += 1;
    }
    cx.reply.integer(len as i64);
}

#[cfg(test)]
mod tests;
