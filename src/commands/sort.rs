//! SORT and SORT_RO: the elements of a list, set or sorted set in sorted order.

use super::list::limits;
use crate::base::number::{parse_f64, parse_i64};
use crate::base::order::sort_part;
use crate::base::slot::{slot_of, slot_of_pattern};
use crate::commands::arg_groups::LIMIT;
use crate::exec::{Command, Context, Process};
use crate::keyspace::{Event, Expiry, View};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group, KeySpec};
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

const BY: Arg = Arg::pattern("by-pattern").after("BY").key_spec(1).shown_as("pattern").optional();

const GET: Arg = Arg::pattern("get-pattern")
    .after("GET")
    .key_spec(1)
    .shown_as("pattern")
    .optional()
    .repeated_with_keyword();

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
        .keys(&[KeySpec::reads(), BY_AND_GET, STORE])
        .args(&[
            Arg::key("key"),
            BY,
            LIMIT.optional(),
            GET,
            Arg::choice("order", &["ASC", "DESC"]).optional(),
            Arg::keyword("ALPHA").named("sorting").optional(),
            Arg::key("destination").after("STORE").key_spec(2).optional(),
        ]),
)
.offload();

/// Returns whether a pattern among the arguments may name other keys.
fn has_patterns(args: &Args<'_>, _: &Process) -> bool {
    Options::parse(args, (true, false, false)).is_ok_and(|options| {
        let patterns = options.by.iter().chain(&options.gets);
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
        .keys(&[KeySpec::reads(), BY_AND_GET])
        .args(&[
            Arg::key("key"),
            BY,
            LIMIT.optional(),
            GET,
            Arg::choice("order", &["ASC", "DESC"]).optional(),
            Arg::keyword("ALPHA").named("sorting").optional(),
        ]),
)
.offload();

fn sort_ro(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    run(cx, args, false)
}

/// Parsed options of SORT.
struct Options<'w> {
    /// BY: pattern of the keys whose values determine the order.
    by: Option<&'w [u8]>,
    /// Whether a BY pattern has no `*`, so that the elements are not sorted.
    is_unsorted: bool,
    /// LIMIT: number of elements to skip, and number to return. A negative number returns all.
    limit: [i64; 2],
    /// GET: patterns of the values that replace an element in the result.
    gets: Vec<&'w [u8]>,
    is_descending: bool,
    /// ALPHA: compares texts instead of numbers.
    is_alpha: bool,
    /// STORE: argument index of the key that receives the result.
    store: Option<usize>,
}

impl<'w> Options<'w> {
    fn parse(
        args: &'w Args<'_>,
        (may_store, is_restricted, is_cluster): (bool, bool, bool),
    ) -> Result<Options<'w>, Error> {
        let mut options = Options {
            by: None,
            is_unsorted: false,
            limit: [0, -1],
            gets: Vec::new(),
            is_descending: false,
            is_alpha: false,
            store: None,
        };
        let may_leave =
            |pattern: &[u8]| is_cluster && slot_of_pattern(pattern) != Some(slot_of(&args[1]));
        let mut at = 2;
        while at < args.len() {
            let option = &args[at];
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            let left = args.len() - at - 1;
            if is("ASC") || is("DESC") {
                options.is_descending = is("DESC");
            } else if is("ALPHA") {
                options.is_alpha = true;
            } else if is("LIMIT") && left >= 2 {
                let number = |at: usize| parse_i64(&args[at]).ok_or(Error::NotInteger);
                options.limit = [number(at + 1)?, number(at + 2)?];
                at += 2;
            } else if is("STORE") && may_store && left >= 1 {
                options.store = Some(at + 1);
                at += 1;
            } else if is("BY") && left >= 1 {
                let pattern = &args[at + 1];
                options.by = Some(pattern);
                let has_star = pattern.contains(&b'*');
                if has_star && may_leave(pattern) {
                    return Err(crossing("BY"));
                }
                if has_star && is_restricted {
                    return Err(denied("BY"));
                }
                options.is_unsorted |= !has_star;
                at += 1;
            } else if is("GET") && left >= 1 {
                if &args[at + 1] != b"#" && may_leave(&args[at + 1]) {
                    return Err(crossing("GET"));
                }
                if is_restricted {
                    return Err(denied("GET"));
                }
                options.gets.push(&args[at + 1]);
                at += 1;
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }

    /// Returns the indexes of the result among `len` sorted elements.
    fn range(&self, len: usize) -> Range<usize> {
        let within = |number: i64| usize::try_from(number).map_or(0, |number| number.min(len));
        let start = within(self.limit[0]);
        let end = if self.limit[1] < 0 { len } else { (start + within(self.limit[1])).min(len) };
        start..end
    }
}

/// Returns the error of an option that reads keys which the rules of the client's user may forbid.
fn denied(option: &str) -> Error {
    let what = "option of SORT denied due to insufficient ACL permissions.";
    Error::other(format!("ERR {option} {what}"))
}

/// Returns the error of an option that reads keys which another node of the cluster may have.
fn crossing(option: &str) -> Error {
    let what = "option of SORT denied in Cluster mode when keys formed by the pattern may be in \
                different slots.";
    Error::other(format!("ERR {option} {what}"))
}

/// An element and its sort keys: a number, or the text of a BY pattern.
struct Element {
    text: Vec<u8>,
    number: f64,
    by: Option<Vec<u8>>,
}

fn run(cx: &mut Context<'_>, args: &Args<'_>, may_store: bool) -> Result<(), Error> {
    let mut options =
        Options::parse(args, (may_store, cx.is_restricted(), cx.config.cluster_enabled))?;
    let key = cx.key(args, 1);
    let view = cx.slice.lookup(cx.db, &key);
    let kind = match &view {
        None => Kind::List,
        Some(view) => view.kind(),
    };
    // A set has no order of its own. A stored list, and what a script sees, must be the same on all
    // servers, so sort it.
    if options.is_unsorted && kind == Kind::Set && (options.store.is_some() || cx.is_scripted) {
        (options.is_unsorted, options.is_alpha, options.by) = (false, true, None);
    }
    let (texts, range) = match view {
        None => (Vec::new(), 0..0),
        Some(view) => texts_of(&view, &options)?,
    };
    let element = |text| Element { text, number: 0.0, by: None };
    let mut elements: Vec<Element> = texts.into_iter().map(element).collect();
    if !options.is_unsorted {
        let is_readable = weigh(cx, &options, &mut elements);
        let is_stored = options.store.is_some();
        if !is_readable {
            let text = "ERR One or more scores can't be converted into double";
            return Err(Error::other(text));
        }
        let order = |a: &Element, b: &Element| {
            let order = compare(a, b, &options, is_stored);
            if options.is_descending { order.reverse() } else { order }
        };
        // The order of equal elements is visible to clients. With BY, the reference server sorts
        // only the requested part.
        if options.by.is_some() && range != (0..elements.len()) {
            sort_part(&mut elements, range.clone(), &order);
        } else {
            elements.sort_by(order);
        }
    }
    let chosen = &elements[range];
    match options.store {
        None => reply(cx, &options.gets, chosen),
        Some(at) => store(cx, args, at, &options.gets, chosen),
    }
    Ok(())
}

/// Returns the elements of a value, and the range of the result among them once they are sorted.
/// Unsorted lists and sorted sets return only the elements of the result.
fn texts_of(view: &View<'_>, options: &Options<'_>) -> Result<(Vec<Vec<u8>>, Range<usize>), Error> {
    let all = |len: usize| if options.is_unsorted { options.range(len) } else { 0..len };
    let texts: Vec<Vec<u8>> = if let Some(list) = view.object::<List>() {
        let (range, len) = (all(list.len()), list.len());
        if options.is_unsorted && options.is_descending && !range.is_empty() {
            let items = list.iter_back_from(len - 1 - range.start);
            items.take(range.len()).map(|item| item.to_vec()).collect()
        } else {
            list.iter_from(range.start).take(range.len()).map(|item| item.to_vec()).collect()
        }
    } else if let Some(set) = view.object::<SortedSet>() {
        let (range, len) = (all(set.len()), set.len());
        if options.is_unsorted && options.is_descending && !range.is_empty() {
            let items = set.iter_back_from(len - 1 - range.start);
            items.take(range.len()).map(|(item, _)| item.to_vec()).collect()
        } else {
            let items = set.iter_from(range.start);
            items.take(range.len()).map(|(item, _)| item.to_vec()).collect()
        }
    } else if let Some(set) = view.object::<Set>() {
        let texts: Vec<_> = set.iter().map(|item| item.to_vec()).collect();
        let range = options.range(texts.len());
        return Ok((texts, range));
    } else {
        return Err(Error::WrongType);
    };
    let range = if options.is_unsorted { 0..texts.len() } else { options.range(texts.len()) };
    Ok((texts, range))
}

/// Looks up what each element is sorted by. Returns false if a text should be a number and is not.
fn weigh(cx: &mut Context<'_>, options: &Options<'_>, elements: &mut [Element]) -> bool {
    let mut is_readable = true;
    for element in elements {
        if let Some(pattern) = options.by {
            element.by = lookup(cx, pattern, &element.text);
        }
        if options.is_alpha {
            continue;
        }
        let text = match options.by {
            None => Some(&element.text),
            Some(_) => element.by.as_ref(),
        };
        // A missing value counts as 0.
        let Some(text) = text else { continue };
        match score_of(text) {
            Some(number) => element.number = number,
            None => is_readable = false,
        }
    }
    is_readable
}

/// Parses a text up to its first NUL as a number.
fn score_of(text: &[u8]) -> Option<f64> {
    parse_f64(until_nul(text))
}

fn compare(a: &Element, b: &Element, options: &Options<'_>, is_stored: bool) -> Ordering {
    if !options.is_alpha {
        let by_number = a.number.partial_cmp(&b.number).expect("numbers");
        return by_number.then_with(|| a.text.cmp(&b.text));
    }
    // Results that are not stored compare as in the C locale, where a NUL ends a text.
    let texts = |a: &[u8], b: &[u8]| match is_stored {
        true => a.cmp(b),
        false => until_nul(a).cmp(until_nul(b)),
    };
    match (options.by, &a.by, &b.by) {
        (None, _, _) => texts(&a.text, &b.text),
        (Some(_), Some(a), Some(b)) => texts(a, b),
        (Some(_), a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn until_nul(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    &text[..end]
}

/// Returns the value of a pattern for an element. `#` is the element itself. Otherwise the element
/// replaces the `*` in a key name, and `key->field` names a field of a hash. Returns `None` if the
/// value is missing.
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
    let (db, key) = (cx.db, cx.slice.key(&name));
    let slice = cx.slice_of(key.slot);
    let view = slice.lookup(db, &key)?;
    let Some(field) = field else {
        return view.string().map(|value| value.text(&mut IntText::new()).to_vec());
    };
    let field = view.object::<Hash>()?.get(field)?;
    let (value, expiry) = (field.value.to_vec(), field.expiry);
    (!expiry.is_some_and(|at| slice.is_past(at))).then_some(value)
}

/// Returns the values that the GET patterns yield for an element.
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

fn store(cx: &mut Context<'_>, args: &Args<'_>, at: usize, gets: &[&[u8]], elements: &[Element]) {
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
    list.settle_new(&limits);
    let (db, key, len) = (cx.db, cx.key(args, at), list.len());
    let slice = cx.slice_of(key.slot);
    if len > 0 {
        slice.set_object(db, &key, Box::new(list).into_object(), Expiry::Clear);
        slice.raise(db, &key, Event::SortStore, len as u64);
    } else if slice.remove(db, &key) {
        slice.raise(db, &key, Event::Del, 1);
    }
    cx.reply.integer(len as i64);
}

#[cfg(test)]
mod tests;
