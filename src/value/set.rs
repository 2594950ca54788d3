//! Sets: unordered members, each once.
//!
//! ```text
//!   form     OBJECT ENCODING   where
//!   ints     intset            one block, see set/ints
//!   packed   listpack          one block, see set/packed
//!   dense    hashtable         see dense
//! ```
//!
//! A set changes to the next form at the same sizes as in the reference server. It never changes
//! back when it shrinks.

mod ints;
mod packed;
#[cfg(test)]
mod tests;

use super::dense::{self, Dense};
use super::object::{Container, Kind, container_object};
use super::pack::{self, Item};
use super::string::IntText;
use crate::base::alloc::class_bytes;
use crate::base::number::i64_text_len;
use crate::base::rng::Rng;

/// `pop_many` draws the staying members, not the leaving ones, if `count` is at least this multiple
/// of their number.
const POP_DRAWS_MAX: usize = 5;

/// `sample` draws members one by one if the set has at least this multiple of `count` members.
/// Otherwise it iterates over the set.
const SAMPLE_DRAWS_MAX: usize = 3;

/// The most integers in one block, whatever the settings are.
const INTS_MAX: usize = 1 << 30;

#[derive(Clone, Debug)]
enum Form {
    /// Integers or packed items. The first byte of the block tells which.
    Small(Box<[u8]>),
    Dense(Box<Dense>),
}

/// Members in no order, each once.
#[derive(Clone, Debug)]
pub struct Set {
    form: Form,
}

const _: () = assert!(size_of::<Set>() <= 16);

/// The size limits of the compact forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most members of a set of integers.
    pub intset_entries: usize,
    /// Most members of a packed set.
    pub listpack_entries: usize,
    /// Most bytes of a member of a packed set.
    pub listpack_value: usize,
}

impl Default for Set {
    fn default() -> Set {
        Set::of_ints()
    }
}

/// Evaluates the expression for the form of a set: integers, packed or dense.
macro_rules! each_form {
    ($set:expr, $ints:pat => $for_ints:expr, $packed:pat => $for_packed:expr,
     $dense:pat => $for_dense:expr) => {
        match $set {
            Form::Small(block) if ints::is_ints(block) => {
                let $ints = block;
                $for_ints
            }
            Form::Small($packed) => $for_packed,
            Form::Dense($dense) => $for_dense,
        }
    };
}

impl Set {
    /// Creates an empty set that is an integer block while all members are integers.
    pub fn of_ints() -> Set {
        Set { form: Form::Small(Box::default()) }
    }

    /// Creates an empty set that is packed while it is small.
    pub fn packed() -> Set {
        Set { form: Form::Small(packed::empty()) }
    }

    /// Creates an empty set in the dense form.
    pub fn dense() -> Set {
        Set { form: Form::Dense(Box::default()) }
    }

    /// Creates an empty set in the form that the reference server chooses for a first member and
    /// about `count` members.
    pub fn beginning_with(first: &[u8], count: usize, limits: &Limits) -> Set {
        let is_int = matches!(Item::of(first), Item::Int(_));
        if is_int && count <= limits.intset_entries {
            Set::of_ints()
        } else if count <= limits.listpack_entries {
            Set::packed()
        } else {
            Set::dense()
        }
    }

    /// Converts to the dense form if `count` members exceed the limit of the present form.
    pub fn expect(&mut self, count: usize, limits: &Limits) {
        let is_many = each_form!(&self.form,
            _ => count > limits.intset_entries,
            _ => count > limits.listpack_entries,
            _ => false);
        if is_many {
            self.make_dense();
        }
    }

    /// Returns the number of members.
    #[inline]
    pub fn len(&self) -> usize {
        each_form!(&self.form,
            block => ints::len(block), block => packed::len(block), dense => dense.len())
    }

    /// Returns whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prefetches the memory where the member would be found.
    #[inline]
    pub fn prefetch(&self, member: &[u8]) {
        if let Form::Dense(dense) = &self.form {
            dense.prefetch(member);
        }
    }

    /// Returns whether `member` is in the set.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.form {
            Form::Dense(dense) => dense.contains(member),
            Form::Small(_) => self.contains_item(&Item::of(member)),
        }
    }

    /// Returns whether `member` is in the set.
    pub fn contains_item(&self, member: &Item<'_>) -> bool {
        each_form!(&self.form,
            block => match *member {
                Item::Int(number) => ints::search(block, number).is_ok(),
                Item::Bytes(_) => false,
            },
            block => packed::contains(block, member),
            dense => dense.contains(member.text(&mut IntText::new())))
    }

    /// Adds a member. Returns false if it was present.
    #[inline]
    pub fn insert(&mut self, member: &[u8], limits: &Limits) -> bool {
        match &mut self.form {
            Form::Dense(dense) => dense.add(member),
            Form::Small(_) => self.insert_small(&Item::of(member), limits),
        }
    }

    /// Adds a member. Returns false if it was present.
    pub fn insert_item(&mut self, member: &Item<'_>, limits: &Limits) -> bool {
        match &mut self.form {
            Form::Dense(dense) => dense.add(member.text(&mut IntText::new())),
            Form::Small(_) => self.insert_small(member, limits),
        }
    }

    fn insert_small(&mut self, member: &Item<'_>, limits: &Limits) -> bool {
        let Form::Small(block) = &mut self.form else { unreachable!("the set is not dense") };
        if ints::is_ints(block) {
            if let Item::Int(number) = *member {
                let is_new = ints::insert(block, number);
                if is_new && ints::len(block) > limits.intset_entries.min(INTS_MAX) {
                    self.make_dense();
                }
                return is_new;
            }
            let is_small = ints_text_len_max(block) <= limits.listpack_value;
            if !is_small {
                self.make_dense();
                return self.insert_item(member, limits);
            }
            *block = packed::of(ranks(block));
        } else if packed::contains(block, member) {
            return false;
        }
        if packed::len(block) < limits.listpack_entries
            && member.len() <= limits.listpack_value
            && block.len() + member.len() < packed::BYTES_MAX
        {
            packed::push(block, member);
            return true;
        }
        self.make_dense();
        self.insert_item(member, limits)
    }

    fn make_dense(&mut self) {
        if matches!(self.form, Form::Dense(_)) {
            return;
        }
        let mut dense = Box::new(Dense::new());
        for member in self.iter() {
            dense.add(member.text(&mut IntText::new()));
        }
        self.form = Form::Dense(dense);
    }

    /// Converts to the integer form if all members are integers and within the limit.
    pub fn make_ints(&mut self, limits: &Limits) {
        let is_ints = matches!(&self.form, Form::Small(block) if ints::is_ints(block));
        if is_ints || self.len() > limits.intset_entries.min(INTS_MAX) {
            return;
        }
        let number = |item| if let Item::Int(number) = item { Some(number) } else { None };
        let Some(mut numbers) = self.iter().map(number).collect::<Option<Vec<i64>>>() else {
            return;
        };
        numbers.sort_unstable();
        let mut block = Box::default();
        for number in numbers {
            ints::insert(&mut block, number);
        }
        self.form = Form::Small(block);
    }

    /// Removes a member. Returns false if it was not present.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        each_form!(&mut self.form,
            block => match Item::of(member) {
                Item::Int(number) => ints::remove(block, number),
                Item::Bytes(_) => false,
            },
            block => packed::remove(block, &Item::of(member)),
            dense => dense.remove(member))
    }

    /// Removes a member. Returns false if it was not present.
    pub fn remove_item(&mut self, member: &Item<'_>) -> bool {
        self.remove(member.text(&mut IntText::new()))
    }

    /// Returns a random member, drawn uniformly; none if the set is empty.
    pub fn random(&self, rng: &mut Rng) -> Option<Item<'_>> {
        let len = self.len();
        if len == 0 {
            return None;
        }
        each_form!(&self.form,
            block => Some(Item::Int(ints::get(block, rng.below(len as u64) as usize))),
            block => pack::iter(packed::items(block)).nth(rng.below(len as u64) as usize),
            dense => dense.random(rng).map(|element| element.key))
    }

    /// Removes and returns a random member, drawn uniformly; none if the set is empty.
    pub fn pop_random(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        if let Form::Dense(dense) = &mut self.form {
            return dense.pop_random(rng, |element| element.key.to_vec());
        }
        let member = self.random(rng)?.to_vec();
        assert!(self.remove(&member), "the member has just been drawn");
        Some(member)
    }

    /// Removes and returns `count` random members, drawn uniformly. `count` must be less than the
    /// number of members.
    pub fn pop_many(&mut self, count: usize, rng: &mut Rng, limits: &Limits) -> Vec<Vec<u8>> {
        let len = self.len();
        assert!(count < len, "`count` is below the number of members");
        let staying = len - count;
        let is_most = staying.saturating_mul(POP_DRAWS_MAX) <= count;
        if let Form::Dense(dense) = &mut self.form {
            let mut pop = |rng: &mut Rng| dense.pop_random(rng, |element| element.key.to_vec());
            if !is_most {
                return (0..count).map_while(|_| pop(rng)).collect();
            }
            // Few members stay: draw these, and move them to a new set.
            let mut stays = Set::packed();
            for member in (0..staying).map_while(|_| pop(rng)) {
                stays.insert(&member, limits);
            }
            let gone = std::mem::replace(self, stays);
            return gone.iter().map(|member| member.to_vec()).collect();
        }
        let mut gone = Vec::with_capacity(count);
        let is_ints = self.encoding() == "intset";
        let mut stays = if is_ints { Set::of_ints() } else { Set::packed() };
        let no_limits = Limits {
            intset_entries: usize::MAX,
            listpack_entries: usize::MAX,
            listpack_value: usize::MAX,
        };
        let limits = if is_most { limits } else { &no_limits };
        let mut picks = Picks::new(count, len);
        for member in self.iter() {
            if picks.next(rng) {
                gone.push(member.to_vec());
            } else {
                stays.insert_item(&member, limits);
            }
        }
        *self = stays;
        gone
    }

    /// Passes `count` random members, drawn uniformly without repetition, to `show`. `count` must
    /// be less than the number of members.
    pub fn sample(&self, count: usize, rng: &mut Rng, show: &mut dyn FnMut(Item<'_>)) {
        let len = self.len();
        assert!(count < len);
        match &self.form {
            Form::Dense(dense) if count.saturating_mul(SAMPLE_DRAWS_MAX) <= len => {
                let mut drawn = Dense::new();
                while drawn.len() < count {
                    let element = dense.random(rng).expect("the set is not empty");
                    drawn.add(element.key.text(&mut IntText::new()));
                }
                drawn.iter().for_each(|element| show(element.key));
            }
            _ => {
                let mut picks = Picks::new(count, len);
                self.iter().filter(|_| picks.next(rng)).for_each(show);
            }
        }
    }

    /// Iterates over all members, each once.
    pub fn iter(&self) -> Members<'_> {
        Members(each_form!(&self.form,
            block => Source::Ints { block, next: 0 },
            block => Source::Packed(packed::items(block)),
            dense => Source::Dense(dense.iter())))
    }

    /// Passes some members to `show` and returns the cursor for the next call; 0 when the scan is
    /// complete. A scan starts with cursor 0, and any number is a valid cursor. See
    /// [`Dense::scan`].
    pub fn scan(&self, cursor: u64, show: &mut dyn FnMut(Item<'_>)) -> u64 {
        match &self.form {
            Form::Dense(dense) => dense.scan(cursor, &mut |element| show(element.key)),
            Form::Small(_) => {
                self.iter().for_each(show);
                0
            }
        }
    }
}

/// Uniform selection of a fixed number of elements from a sequence of known length.
struct Picks {
    wanted: u64,
    left: u64,
}

impl Picks {
    fn new(count: usize, len: usize) -> Picks {
        Picks { wanted: count as u64, left: len as u64 }
    }

    /// Returns whether the next element of the sequence is selected.
    fn next(&mut self, rng: &mut Rng) -> bool {
        let is_chosen = rng.below(self.left) < self.wanted;
        self.left -= 1;
        self.wanted -= u64::from(is_chosen);
        is_chosen
    }
}

/// Iterates over the numbers of an integer block.
fn ranks(block: &[u8]) -> impl Iterator<Item = Item<'_>> {
    (0..ints::len(block)).map(|rank| Item::Int(ints::get(block, rank)))
}

/// Returns the length in bytes of the longest number's text, which is the first or the last
/// number's.
fn ints_text_len_max(block: &[u8]) -> usize {
    let len = ints::len(block);
    let ends = if len == 0 { None } else { Some([0, len - 1]) };
    let lens = ends.into_iter().flatten().map(|rank| i64_text_len(ints::get(block, rank)));
    lens.max().unwrap_or(0)
}

/// Iterator over the members of a set.
#[derive(Clone, Debug)]
pub struct Members<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    Ints { block: &'a [u8], next: usize },
    Packed(&'a [u8]),
    Dense(dense::Iter<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        match &mut self.0 {
            Source::Ints { block, next } if *next < ints::len(block) => {
                *next += 1;
                Some(Item::Int(ints::get(block, *next - 1)))
            }
            Source::Packed(bytes) if !bytes.is_empty() => {
                let (item, rest) = pack::read(bytes);
                *bytes = rest;
                Some(item)
            }
            Source::Dense(elements) => elements.next().map(|element| element.key),
            Source::Ints { .. } | Source::Packed(_) => None,
        }
    }
}

impl Container for Set {
    const KIND: Kind = Kind::Set;

    fn len(&self) -> usize {
        Set::len(self)
    }

    fn encoding(&self) -> &'static str {
        each_form!(&self.form, _ => "intset", _ => "listpack", _ => "hashtable")
    }

    fn memory_bytes(&self, _samples: usize) -> usize {
        match &self.form {
            Form::Small(block) if block.is_empty() => 0,
            Form::Small(block) => class_bytes(block.len()),
            Form::Dense(dense) => class_bytes(size_of::<Dense>()) + dense.memory_bytes(),
        }
    }

    fn free_step(&mut self) -> bool {
        match &mut self.form {
            Form::Small(_) => true,
            Form::Dense(dense) => dense.free_step(),
        }
    }

    fn check(&self) {
        each_form!(&self.form,
            block => ints::check(block), block => packed::check(block), dense => dense.check());
    }

    container_object!(Set);
}
