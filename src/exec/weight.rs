//! How much a command will touch. It decides whether the command would occupy its shard for too
//! long.
//!
//! The unit is one element of a value, about 50 ns of work. Bytes are converted:
//!
//! ```text
//!   copied or allocated    64 bytes = 1 element      (0.5 to 0.8 ns a byte, with page faults)
//!   only read             512 bytes = 1 element      (0.06 to 0.1 ns a byte)
//! ```
//! Weighing has no side effects and takes constant or logarithmic time. It happens once more than
//! necessary: for a batch at home, and again when the command's turn comes.

use super::batch::{BatchArgs, Item};
use super::table::Entry;
use crate::base::number::parse_i64;
use crate::keyspace::{DetachedValue, Slice, View};
use crate::resp::Args;
use crate::value::{Container, Kind};

/// Bytes that take as long to copy as one element.
pub const COPIED_BYTES: usize = 64;

/// Bytes that take as long to read as one element.
pub const READ_BYTES: usize = 512;

/// Elements in whose time a command uses one argument.
const ARG_WEIGHT: usize = 2;

/// Elements in whose time a key is locked, its value lent to another shard, and taken back.
const GATHERED_WEIGHT: usize = 8;

/// Elements in whose time a command begins and ends, if it is one of several.
const COMMAND_WEIGHT: usize = 6;

/// Nodes of a value from which the size of its elements is estimated.
const SAMPLES: usize = 4;

/// Elements of a set, hash, sorted set or stream that are fewer than one in this number of a long
/// command's are not measured.
const FEW: usize = 10;

/// Returns the weight of a command with these arguments, in elements.
pub type WeightFn = fn(&Weighing<'_>, &Args<'_>) -> usize;

/// What determines the work of a command on keys, besides the number of its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Weight {
    /// It is never long: it has few arguments, or runs in another way if it has very much work.
    Light,
    /// Nothing.
    Args,
    /// The values of its keys as a whole, except values that it overwrites.
    Values,
    /// Its arguments and values, by this function.
    Of(WeightFn),
}

/// A command that is being weighed, and the slice that has its keys.
pub struct Weighing<'a> {
    slice: &'a Slice,
    item: &'a Item,
    /// A weight from which on the command is long. A function may stop there.
    pub enough: usize,
}

/// Returns the weight of a command that weighs `enough` elements or more, so that it must not run
/// in one step on its shard; none for a shorter command. The slice must have all its keys.
pub fn long_weight(
    slice: &Slice,
    item: &Item,
    batch_args: &mut BatchArgs<'_>,
    enough: usize,
) -> Option<usize> {
    let weight = item.entry.command.weight;
    if matches!(weight, Weight::Light) {
        return None;
    }
    let args = batch_args.of(item);
    let weighing = Weighing { slice, item, enough };
    let by_args = item.entry.args_weight(&args, enough);
    let elements = match weight {
        Weight::Values | Weight::Of(_) if by_args >= enough => by_args,
        Weight::Light | Weight::Args => by_args,
        Weight::Values => weighing.values(&args),
        Weight::Of(weigh) => weigh(&weighing, &args),
    };
    let is_long = elements >= enough && !item.discovers;
    is_long.then_some(elements)
}

/// Returns the weight of a command like [`long_weight`], if the values of its keys have `elements`
/// elements in total. It is at least as long as the sum of these.
pub fn long_weight_of(
    item: &Item,
    batch_args: &mut BatchArgs<'_>,
    elements: usize,
    enough: usize,
) -> Option<usize> {
    let mut by_args = || item.entry.args_weight(&batch_args.of(item), enough);
    let elements = match item.entry.command.weight {
        Weight::Light => return None,
        Weight::Args => by_args(),
        Weight::Values | Weight::Of(_) => elements.max(by_args()),
    };
    (elements >= enough && !item.discovers).then_some(elements)
}

/// Returns the weight of a fetched value, in elements.
pub fn weight_of_value(value: &DetachedValue) -> usize {
    value.elements(COPIED_BYTES, SAMPLES)
}

impl<'a> Weighing<'a> {
    /// Returns the number of keys in the selected database.
    pub fn keys(&self) -> usize {
        self.slice.len(usize::from(self.item.db))
    }

    /// Returns whether the command is one of several parts on all shards.
    pub fn is_part(&self) -> bool {
        self.item.is_part
    }

    /// Returns the value of the key at argument `at`; none if there is no such key.
    pub fn value(&self, args: &Args<'_>, at: usize) -> Option<View<'a>> {
        let key = args.get(at)?;
        let db = self.item.entry.key_database(args, at, usize::from(self.item.db));
        if db >= self.slice.databases() {
            return None;
        }
        let is_first = at == self.item.entry.keys.first;
        let slice = self.slice;
        let key = if is_first { slice.key_in_slot(key, self.item.slot) } else { slice.key(key) };
        slice.look(db, &key)
    }

    /// Returns the value of the key at argument `at` if it has type `T`.
    pub fn object<T: Container>(&self, args: &Args<'_>, at: usize) -> Option<&'a T> {
        self.value(args, at)?.object()
    }

    /// Returns the number of elements of the value of the key at argument `at`.
    pub fn len(&self, args: &Args<'_>, at: usize) -> usize {
        self.value(args, at).map_or(0, |view| view.elements())
    }

    /// Returns the bytes of the string of the key at argument `at`.
    pub fn string_bytes(&self, args: &Args<'_>, at: usize) -> usize {
        let text = self.value(args, at).and_then(|view| view.string());
        text.map_or(0, |text| text.len())
    }

    /// Returns the weight of a value as a whole.
    fn whole(&self, view: &View<'_>) -> usize {
        if let Some(text) = view.string() {
            return text.len() / COPIED_BYTES;
        }
        let elements = view.elements();
        if elements >= self.enough {
            return elements;
        }
        elements.max(view.memory_bytes(SAMPLES) / COPIED_BYTES)
    }

    /// Returns the weight of `count` of the elements of the key's value at argument `at`. Large
    /// elements weigh more.
    pub fn part(&self, args: &Args<'_>, at: usize, count: usize) -> usize {
        self.value(args, at).map_or(0, |view| self.part_of(&view, count))
    }

    /// Returns the weight of `count` elements of a value, like [`Weighing::part`].
    pub fn part_of(&self, view: &View<'_>, count: usize) -> usize {
        let len = view.elements();
        let count = count.min(len);
        // Only a list tells the size of its elements at once.
        let is_few = count < self.enough / FEW && view.kind() != Kind::List;
        if count == 0 || count >= self.enough || is_few {
            return count;
        }
        let bytes = view.memory_bytes(SAMPLES);
        count.max((bytes / COPIED_BYTES).saturating_mul(count) / len)
    }

    /// Returns the weight of the values that the command does not overwrite.
    pub fn values(&self, args: &Args<'_>) -> usize {
        let entry = self.item.entry;
        let whole = |at| self.value(args, at).map_or(0, |view| self.whole(&view));
        if let Some(keys) = entry.plain_key_args(args.len())
            && entry.command.card.keys[0].weighs()
        {
            return keys.map(whole).sum();
        }
        let keys = entry.key_args(args).unwrap_or_default();
        keys.iter().filter(|(_, spec)| spec.weighs()).map(|(at, _)| whole(*at)).sum()
    }

    /// Returns whether a string that ends at `end` bytes, as far as the arguments say, is short for
    /// sure, so that the value need not be looked at.
    pub fn is_light_string(&self, end: usize) -> bool {
        end < self.enough.saturating_mul(COPIED_BYTES) && !self.slice.has_long_strings()
    }

    /// Returns the weight of changing the string of the key at argument `at` in place, after which
    /// it has at least `end` bytes. It is copied if a reply shares it or if it outgrows its buffer.
    pub fn string_edit(&self, args: &Args<'_>, at: usize, end: usize) -> usize {
        if self.is_light_string(end) {
            return 0;
        }
        let bytes = match self.value(args, at) {
            None => end,
            Some(view) => view.bytes_to_move(end),
        };
        bytes / COPIED_BYTES
    }
}

/// Returns the weight of short commands with `args` arguments in total, in elements.
pub fn step_weight(commands: usize, args: usize) -> usize {
    COMMAND_WEIGHT * commands + ARG_WEIGHT * args
}

/// Returns the count at argument `at`, which may be negative; none without a valid number.
pub fn count_at(args: &Args<'_>, at: usize) -> Option<usize> {
    let count = args.get(at).and_then(parse_i64)?;
    Some(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX))
}

/// Returns the number after the last option `name` from argument `from` on.
pub fn option_count(args: &Args<'_>, from: usize, name: &[u8]) -> Option<usize> {
    let at = (from..args.len()).rfind(|at| args[*at].eq_ignore_ascii_case(name))?;
    count_at(args, at + 1)
}

impl Entry {
    /// Returns the most that the arguments weigh, beyond the least number that the command takes.
    fn args_weight_max(&self, argc: usize) -> usize {
        ARG_WEIGHT * argc.saturating_sub(usize::from(self.command.card.arity.unsigned_abs()))
    }

    /// Returns the weight of the arguments if it is `enough` or more. Keys weigh nothing: the shard
    /// needs ten times as long to lend a value to another thread as to look its key up.
    fn args_weight(&self, args: &Args<'_>, enough: usize) -> usize {
        let all = self.args_weight_max(args.len());
        if all < enough {
            return all;
        }
        let keys = match self.plain_key_args(args.len()) {
            Some(keys) => keys.count(),
            None => self.key_args(args).unwrap_or_default().len(),
        };
        all.saturating_sub(ARG_WEIGHT * keys)
    }

    /// Returns whether a command with `argc` arguments may weigh `enough` elements or more.
    #[inline]
    pub fn may_be_long(&self, argc: usize, enough: usize) -> bool {
        match self.command.weight {
            Weight::Light => false,
            Weight::Args => self.args_weight_max(argc) >= enough,
            Weight::Values | Weight::Of(_) => true,
        }
    }

    /// Returns whether a command with `argc` arguments has too many keys to run in one step.
    #[inline]
    pub fn has_many_keys(&self, argc: usize, enough: usize) -> bool {
        ARG_WEIGHT * argc >= enough && self.may_be_spread(argc)
    }

    /// Returns whether a command with `argc` arguments may gather too many keys for one step.
    #[inline]
    pub fn gathers_many_keys(&self, argc: usize, enough: usize) -> bool {
        GATHERED_WEIGHT * argc >= enough && self.gathers_keys()
    }

    /// Returns whether a command with these arguments, which gathers keys and discovers none, does
    /// so in steps. If one shard has all its keys (`is_one`), a command that is never long runs
    /// there, on the keys themselves.
    pub fn gathers_in_steps(&self, args: &Args<'_>, is_one: bool, enough: usize) -> bool {
        let stays = is_one && matches!(self.command.weight, Weight::Light);
        let keys = || self.key_args(args).map_or(0, |keys| keys.len());
        self.gathers_many_keys(args.len(), enough) && !stays && GATHERED_WEIGHT * keys() >= enough
    }

    /// Returns whether a command with `argc` arguments has several keys, and can run on one group
    /// of them after the other.
    pub fn may_be_spread(&self, argc: usize) -> bool {
        let keys = self.keys;
        self.is_per_key()
            && argc > keys.first + keys.step
            && (argc - keys.first).is_multiple_of(keys.step)
    }

    /// Returns whether a command with these arguments may run in slices. It then stands alone in
    /// its batch.
    #[inline]
    pub fn may_walk(&self, args: &Args<'_>, enough: usize) -> bool {
        self.command.walk.is_some()
            && (self.is_everywhere() || option_count(args, 2, b"COUNT") >= Some(enough / 2))
    }
}
