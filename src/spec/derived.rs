//! Data derived from a card: the names that COMMAND shows, ACL categories, the range of keys.

use super::{Access, Begin, Card, Category, Change, Find, Flag, Group, KeySpec};
use crate::base::number::parse_i64;

/// The flags with their names, in the order of COMMAND INFO. [`Flag::MAY_REPLICATE`] has none: the
/// reference hides it.
const FLAG_NAMES: [(Flag, &str); 19] = [
    (Flag::WRITE, "write"),
    (Flag::READONLY, "readonly"),
    (Flag::DENYOOM, "denyoom"),
    (Flag::ADMIN, "admin"),
    (Flag::PUBSUB, "pubsub"),
    (Flag::NOSCRIPT, "noscript"),
    (Flag::BLOCKING, "blocking"),
    (Flag::LOADING, "loading"),
    (Flag::STALE, "stale"),
    (Flag::SKIP_MONITOR, "skip_monitor"),
    (Flag::SKIP_COMMANDLOG, "skip_commandlog"),
    (Flag::ASKING, "asking"),
    (Flag::FAST, "fast"),
    (Flag::NO_AUTH, "no_auth"),
    (Flag::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flag::NO_ASYNC_LOADING, "no_async_loading"),
    (Flag::NO_MULTI, "no_multi"),
    (Flag::ALLOW_BUSY, "allow_busy"),
    (Flag::MOVABLEKEYS, "movablekeys"),
];

/// All ACL categories, in the order of COMMAND INFO.
pub const CATEGORY_NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

impl Flag {
    /// Returns the names of the flags in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        FLAG_NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

impl Group {
    /// Returns the ACL category that all commands of this group have, if there is one.
    pub fn category(self) -> Option<Category> {
        match self {
            Group::String => Some(Category::String),
            Group::Bitmap => Some(Category::Bitmap),
            Group::List => Some(Category::List),
            Group::Set => Some(Category::Set),
            Group::SortedSet => Some(Category::SortedSet),
            Group::Hash => Some(Category::Hash),
            Group::Stream => Some(Category::Stream),
            Group::HyperLogLog => Some(Category::HyperLogLog),
            Group::Geo => Some(Category::Geo),
            Group::Transactions => Some(Category::Transaction),
            Group::Connection => Some(Category::Connection),
            Group::Scripting => Some(Category::Scripting),
            // The flag implies the category of pub/sub.
            Group::Generic | Group::Server | Group::Cluster | Group::PubSub => None,
        }
    }

    /// Returns the name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Stream => "stream",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::Transactions => "transactions",
            Group::Generic => "generic",
            Group::Scripting => "scripting",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
            Group::PubSub => "pubsub",
        }
    }
}

impl Category {
    /// Returns the name, without `@`.
    pub fn name(self) -> &'static str {
        match self {
            Category::Keyspace => "keyspace",
            Category::String => "string",
            Category::Bitmap => "bitmap",
            Category::List => "list",
            Category::Set => "set",
            Category::SortedSet => "sortedset",
            Category::Hash => "hash",
            Category::Stream => "stream",
            Category::HyperLogLog => "hyperloglog",
            Category::Geo => "geo",
            Category::Transaction => "transaction",
            Category::Connection => "connection",
            Category::Scripting => "scripting",
            Category::Admin => "admin",
            Category::Dangerous => "dangerous",
        }
    }
}

/// The first and the last argument that are keys, and the distance between two keys.
///
/// A negative `last` is counted from the end. All fields are zero if there is no such range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArgRange {
    /// The argument that is the first key.
    pub first: i64,
    /// The argument that is the last key.
    pub last: i64,
    /// Number of arguments from one key to the next.
    pub step: i64,
}

impl Card {
    /// Returns whether the command is in a category, named in lower case and without `@`.
    pub fn is_in(&self, category: &str) -> bool {
        let implied = match category {
            // A script that only reads may read anything.
            "read" => self.flags.has(Flag::READONLY) && self.group != Group::Scripting,
            "write" => self.flags.has(Flag::WRITE),
            "pubsub" => self.flags.has(Flag::PUBSUB),
            "blocking" => self.flags.has(Flag::BLOCKING),
            "admin" | "dangerous" => self.flags.has(Flag::ADMIN),
            "fast" => self.flags.has(Flag::FAST),
            "slow" => !self.flags.has(Flag::FAST),
            _ => false,
        };
        // A container itself does nothing, so its group implies no category.
        let of_group = if self.is_container { None } else { self.group.category() };
        let mut named = self.categories.iter().chain(&of_group);
        implied || named.any(|named| named.name() == category)
    }

    /// Returns the names of the command's categories, without `@`.
    pub fn category_names(&self) -> impl Iterator<Item = &'static str> {
        CATEGORY_NAMES.into_iter().filter(|name| self.is_in(name))
    }

    /// Returns whether any arguments can be keys.
    pub fn has_keys(&self) -> bool {
        self.keys.iter().any(|spec| !spec.is_channel)
    }

    /// Returns the single key range that older clients expect: the key specs joined, as long as
    /// they are adjacent.
    pub fn arg_range(&self) -> ArgRange {
        if let [only] = self.keys {
            let (first, last, step) = only.fixed_range();
            return ArgRange { first, last, step };
        }
        let mut range = ArgRange::default();
        for (first, last, step) in self.keys.iter().map(KeySpec::fixed_range) {
            let adjoins = range.first == 0 || range.last == first - 1;
            if step == 1 && adjoins {
                let first = if range.first == 0 { first } else { range.first };
                range = ArgRange { first, last, step };
            }
        }
        range
    }

    /// Returns the indices of the arguments that are keys in a command of `argc` arguments, each
    /// with its key spec. Returns `None` if the arguments do not fit the key specs. `arg` returns
    /// an argument by its index.
    pub fn key_args<'w>(
        &self,
        argc: usize,
        arg: impl Fn(usize) -> &'w [u8],
    ) -> Option<Vec<(usize, &'static KeySpec)>> {
        if let [first, next] = self.keys
            && let (true, Begin::Index(at)) = (first.or_next, first.begin)
            && usize::from(at) < argc
        {
            let at = usize::from(at);
            return Some(match next.range(argc, &arg).flatten() {
                None => vec![(at, first)],
                Some(others) if arg(at).is_empty() => others.map(|at| (at, next)).collect(),
                // Keys in both places: the command fails when it runs.
                Some(_) => Vec::new(),
            });
        }
        let mut keys = Vec::new();
        let of_keys = self.keys.iter().filter(|spec| !spec.is_channel);
        for spec in of_keys.filter(|spec| spec.option().is_none()) {
            let Some(range) = spec.range(argc, &arg)? else { continue };
            keys.extend(range.map(|at| (at, spec)));
        }
        keys.extend(self.last_named(argc, &arg));
        Some(keys)
    }

    /// Returns the indices of the arguments that are channels which belong to hash slots. Returns
    /// none if the arguments do not fit.
    pub fn channel_args<'w>(&self, argc: usize, arg: impl Fn(usize) -> &'w [u8]) -> Vec<usize> {
        let of_channels = self.keys.iter().filter(|spec| spec.is_channel);
        of_channels.filter_map(|spec| spec.range(argc, &arg)?).flatten().collect()
    }

    /// Returns the keys that a command uses, like [`Card::key_args`]. In contrast to it, a group of
    /// keys that extends to the last argument may be empty. COMMAND GETKEYS refuses such a command,
    /// but the command itself runs.
    pub fn used_args<'w>(
        &self,
        argc: usize,
        arg: impl Fn(usize) -> &'w [u8],
    ) -> Option<Vec<(usize, &'static KeySpec)>> {
        match self.keys {
            [first, last] if self.takes(argc) && last.is_void(argc) => {
                let range = first.range(argc, &arg)?;
                Some(range.into_iter().flatten().map(|at| (at, first)).collect())
            }
            _ => self.key_args(argc, arg),
        }
    }

    /// Returns the key after an option that names a key. If several options name a key, or one of
    /// them is repeated, the last one counts.
    fn last_named<'w>(
        &self,
        argc: usize,
        arg: &impl Fn(usize) -> &'w [u8],
    ) -> Option<(usize, &'static KeySpec)> {
        let options = || self.keys.iter().filter_map(|spec| Some((spec, spec.option()?)));
        let mut at = options().map(|(_, (_, from))| from).min()?;
        let mut found = None;
        while at + 1 < argc {
            let is_it = |name: &str| arg(at).eq_ignore_ascii_case(name.as_bytes());
            if let Some((spec, _)) = options().find(|(_, (name, _))| is_it(name)) {
                at += 1;
                found = Some((at, spec));
            }
            at += 1;
        }
        found
    }
}

impl KeySpec {
    /// Returns the first key, the last key and the step if they do not depend on the arguments,
    /// otherwise zeros. A negative last key is counted from the end.
    fn fixed_range(&self) -> (i64, i64, i64) {
        let (Begin::Index(first), Find::Range { last, step }) = (self.begin, self.find) else {
            return (0, 0, 0);
        };
        assert!(
            first > 0 && step > 0,
            "argument 0 is the name, and the distance between keys is positive"
        );
        let (first, last) = (i64::from(first), i64::from(last));
        (first, if last < 0 { last } else { first + last }, i64::from(step))
    }

    /// Returns the arguments that are keys by this spec. Returns `Some(None)` if its keyword is not
    /// among the arguments, and `None` if the arguments do not fit the spec.
    #[allow(clippy::option_option)]
    fn range<'w>(
        &self,
        argc: usize,
        arg: &impl Fn(usize) -> &'w [u8],
    ) -> Option<Option<std::iter::StepBy<std::ops::Range<usize>>>> {
        let begin = match self.begin {
            Begin::Index(at) => usize::from(at),
            Begin::Keyword { name, from, skips } => {
                match find_keyword(name, from, skips, argc, arg) {
                    Some(at) => at + 1,
                    None => return Some(None),
                }
            }
            Begin::Option { name, from, skips } => {
                let found = find_option(name, from, skips, argc, arg);
                return Some(found.map(|at| (at + 1..at + 2).step_by(1)));
            }
            Begin::Unknown => return Some(None),
        };
        let (first, last, step) = match self.find {
            Find::Range { last, step } => {
                let end = if last < 0 { argc as i64 } else { begin as i64 };
                (begin, end + i64::from(last), step)
            }
            Find::Part { step, limit } => {
                let count = argc.saturating_sub(begin) / usize::from(limit);
                (begin, (begin + count) as i64 - 1, step)
            }
            Find::Count { at, first, step } => {
                let at = begin + usize::from(at);
                let count = (at < argc).then(|| parse_i64(arg(at))).flatten()?;
                let first = begin + usize::from(first);
                let span = count.checked_sub(1)?.checked_mul(i64::from(step))?;
                (first, span.checked_add(first as i64)?, step)
            }
            Find::Unknown => return Some(None),
        };
        let is_within = last >= first as i64 && last < argc as i64;
        is_within.then(|| Some((first..last as usize + 1).step_by(usize::from(step))))
    }

    /// Returns the keyword that names one key, and the first argument that may be the keyword.
    fn option(&self) -> Option<(&'static str, usize)> {
        match (self.begin, self.find) {
            (Begin::Keyword { name, from, .. }, Find::Range { last: 0, .. }) => {
                Some((name, usize::try_from(from).ok()?))
            }
            _ => None,
        }
    }

    /// Returns whether this spec's group of keys would begin after the last of `argc` arguments.
    fn is_void(&self, argc: usize) -> bool {
        let begins_after = matches!(self.begin, Begin::Index(at) if usize::from(at) == argc);
        begins_after && matches!(self.find, Find::Range { last: -1, .. })
    }

    /// Returns the flags that describe in COMMAND INFO how the command uses the keys.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let access = match self.access {
            Access::Read => "RO",
            Access::Update => "RW",
            Access::Overwrite => "OW",
            Access::Remove => "RM",
        };
        let change = match self.change {
            Change::Nothing => None,
            Change::Insert => Some("insert"),
            Change::Update => Some("update"),
            Change::Delete => Some("delete"),
        };
        let uses_data = self.uses_data.then_some("access");
        let varies = self.varies.then_some("variable_flags");
        match self.is_channel {
            true => [Some("not_key"), None, None, None],
            false => [Some(access), uses_data, change, varies],
        }
        .into_iter()
        .flatten()
    }

    /// Returns whether the command needs an exclusive lock on the keys.
    pub fn is_exclusive(&self) -> bool {
        self.is_locked || self.access != Access::Read
    }

    /// Returns whether a command with this number of keys needs an exclusive lock on the keys.
    pub fn is_exclusive_among(&self, keys: usize) -> bool {
        self.is_exclusive() && !(self.is_changed_alone && keys > 1)
    }

    /// Returns whether the command's cost depends on the old values of the keys.
    pub fn weighs(&self) -> bool {
        self.access != Access::Overwrite
    }
}

/// Returns the index of a keyword. The search starts at argument `from`, or goes backwards from the
/// end if `from` is negative.
fn find_keyword<'w>(
    keyword: &str,
    from: i16,
    skips: &[(&str, u16)],
    argc: usize,
    arg: &impl Fn(usize) -> &'w [u8],
) -> Option<usize> {
    let is_it = |at: &usize| arg(*at).eq_ignore_ascii_case(keyword.as_bytes());
    if from >= 0 {
        let from = usize::from(from.unsigned_abs());
        let mut at = 1;
        while at < argc {
            if at >= from && is_it(&at) {
                return Some(at);
            }
            at += 1 + values_after(arg(at), skips);
        }
        return None;
    }
    let end = argc.checked_sub(usize::from(from.unsigned_abs()))?;
    (1..=end).rev().find(is_it)
}

/// Returns the index of the last occurrence of an option that has an argument after it.
fn find_option<'w>(
    option: &str,
    from: u16,
    skips: &[(&str, u16)],
    argc: usize,
    arg: &impl Fn(usize) -> &'w [u8],
) -> Option<usize> {
    let (mut at, mut found) = (usize::from(from), None);
    while at < argc {
        if arg(at).eq_ignore_ascii_case(option.as_bytes()) && at + 1 < argc {
            found = Some(at);
        }
        at += 1 + values_after(arg(at), skips);
    }
    found
}

/// Returns the number of arguments after this one that are its values, or 0 if it is not an option
/// to skip.
fn values_after(arg: &[u8], skips: &[(&str, u16)]) -> usize {
    let skipped = skips.iter().find(|(name, _)| arg.eq_ignore_ascii_case(name.as_bytes()));
    skipped.map_or(0, |(_, values)| usize::from(*values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(flags: Flag, keys: &'static [KeySpec]) -> Card {
        Card::new("test", Group::Generic, "1.0.0")
            .arity(-1)
            .flags(flags)
            .categories(&[Category::Keyspace])
            .keys(keys)
    }

    #[test]
    fn flags_and_categories_have_names() {
        let card = card(Flag::WRITE.and(Flag::FAST).and(Flag::ADMIN), &[]);
        assert_eq!(card.flags.names().collect::<Vec<_>>(), ["write", "admin", "fast"]);
        let names: Vec<_> = card.category_names().collect();
        assert_eq!(names, ["keyspace", "write", "admin", "fast", "dangerous"]);
        assert!(!card.is_in("slow") && !card.is_in("nothing"));
        let named = FLAG_NAMES.iter().fold(Flag::NONE, |all, (flag, _)| all.and(*flag));
        assert!(!named.has(Flag::MAY_REPLICATE), "the reference hides it");
        assert_eq!(named.and(Flag::MAY_REPLICATE), Flag((1 << 20) - 1));
    }

    #[test]
    fn the_last_keyword_names_the_key() {
        const STORE: KeySpec = KeySpec::overwrites().after("STORE", 2);
        static KEYS: [KeySpec; 3] = [KeySpec::reads(), STORE, STORE.after("STOREDIST", 2)];
        let card = card(Flag::WRITE, &KEYS);
        let places = |text: &str| {
            let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            let found = card.key_args(args.len(), |at| args[at])?;
            Some(found.into_iter().map(|(at, _)| at).collect::<Vec<_>>())
        };
        assert_eq!(places("geo k 1"), Some(vec![1]));
        assert_eq!(places("geo k store a"), Some(vec![1, 3]));
        assert_eq!(places("geo k store a asc STOREDIST b"), Some(vec![1, 6]));
        assert_eq!(places("geo k storedist store store b"), Some(vec![1, 5]));
        assert_eq!(places("geo k store a STORE"), Some(vec![1, 3]));
        assert_eq!(places("geo k store"), Some(vec![1]));
    }

    #[test]
    fn a_group_of_keys_may_be_empty() {
        const REST: KeySpec = KeySpec::reads().at(2).to_end(1);
        static KEYS: [KeySpec; 2] = [KeySpec::inserts().using_data(), REST];
        let card = card(Flag::WRITE, &KEYS);
        let places = |argc| {
            let used = card.used_args(argc, |_| b"")?;
            Some(used.into_iter().map(|(at, _)| at).collect::<Vec<_>>())
        };
        assert_eq!((places(2), card.key_args(2, |_| b"").is_none()), (Some(vec![1]), true));
        assert_eq!(places(4), Some(vec![1, 2, 3]));
        assert_eq!(places(1), None);
    }

    #[test]
    fn adjacent_specs_make_one_range() {
        static TWO: [KeySpec; 2] = [KeySpec::reads(), KeySpec::overwrites().at(2)];
        static GAP: [KeySpec; 2] = [KeySpec::reads(), KeySpec::overwrites().at(4)];
        static PAIRS: [KeySpec; 1] = [KeySpec::overwrites().to_end(2)];
        let range = |keys| card(Flag::WRITE, keys).arg_range();
        assert_eq!(range(&[]), ArgRange::default());
        assert_eq!(range(&TWO), ArgRange { first: 1, last: 2, step: 1 });
        assert_eq!(range(&GAP), ArgRange { first: 1, last: 1, step: 1 });
        assert_eq!(range(&PAIRS), ArgRange { first: 1, last: -1, step: 2 });
        let places = |keys, argc| {
            let card = card(Flag::WRITE, keys);
            let keys = card.key_args(argc, |_| b"")?;
            Some(keys.into_iter().map(|(at, _)| at).collect::<Vec<_>>())
        };
        assert_eq!(places(&TWO, 3), Some(vec![1, 2]));
        assert_eq!(places(&TWO, 2), None);
        assert_eq!(places(&PAIRS, 5), Some(vec![1, 3]));
        assert_eq!(places(&PAIRS, 1), None);
    }

    #[test]
    fn how_keys_are_used() {
        let said = |spec: KeySpec| {
            let names: Vec<&str> = spec.flag_names().collect();
            (names.join(" "), spec.is_exclusive(), spec.weighs())
        };
        let expected = |flags: &str, exclusive, weighs| (flags.to_string(), exclusive, weighs);
        assert_eq!(said(KeySpec::inspects()), expected("RO", false, true));
        assert_eq!(said(KeySpec::reads()), expected("RO access", false, true));
        assert_eq!(said(KeySpec::reads().locked()), expected("RO access", true, true));
        assert_eq!(said(KeySpec::inserts()), expected("RW insert", true, true));
        assert_eq!(said(KeySpec::removes()), expected("RM delete", true, true));
        let alone = KeySpec::reforms().changed_alone();
        assert_eq!(said(alone), expected("RW access", true, true));
        assert!(alone.is_exclusive_among(1) && !alone.is_exclusive_among(2));
        assert!(KeySpec::inserts().is_exclusive_among(2));
        assert!(!KeySpec::reads().is_exclusive_among(1));
        let varying = KeySpec::overwrites().using_data().varying();
        assert_eq!(said(varying), expected("OW access update variable_flags", true, false));
    }

    #[test]
    fn a_group_implies_a_category() {
        let card = Card::new("test", Group::Hash, "1.0.0");
        assert!(card.is_in("hash") && !card.is_in("keyspace"));
        assert!(!card.container().is_in("hash"), "a container does nothing itself");
    }

    #[test]
    fn the_last_option_names_the_key() {
        const SKIPS: &[(&str, u16)] = &[("LIMIT", 2), ("GET", 1)];
        static STORE: [KeySpec; 1] = [KeySpec::overwrites().after_option("STORE", 2, SKIPS)];
        let card = card(Flag::WRITE, &STORE);
        let place = |text: &str| {
            let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            let found = card
                .key_args(args.len(), |at| args[at])
                .expect("the arguments always fit the specs");
            found.first().map(|(at, _)| *at)
        };
        assert_eq!(place("sort k"), None);
        assert_eq!(place("sort k STORE"), None);
        assert_eq!(place("sort k store d"), Some(3));
        assert_eq!(place("sort k get store d"), None);
        assert_eq!(place("sort k limit store 1 STORE x store y"), Some(8));
        assert_eq!(card.arg_range(), ArgRange::default());
    }
}
