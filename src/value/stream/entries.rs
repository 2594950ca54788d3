//! Iterators over entries in the order of their ids, from either end.

use super::id::Id;
use super::listpack;
use super::node::{Raw, Walk, WalkBack};
use super::nodes::{Nodes, Place};
use crate::value::pack::Item;

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Id.
    pub id: Id,
    /// Fields. [`Fields::len`] returns their number.
    pub fields: Fields<'a>,
}

/// Iterator over the fields of an entry in order, as names and values.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    /// Offset of the next name among the names of the node's head; none if each name precedes its
    /// value.
    names_at: Option<usize>,
    at: usize,
    left: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        names_at: Option<usize>,
        at: usize,
        left: usize,
    ) -> Fields<'a> {
        Fields { bytes, names_at, at, left }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<(Item<'a>, Item<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let name;
        match &mut self.names_at {
            Some(names_at) => (name, *names_at) = listpack::read(self.bytes, *names_at),
            None => (name, self.at) = listpack::read(self.bytes, self.at),
        }
        let (value, next) = listpack::read(self.bytes, self.at);
        self.at = next;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

/// Iterator over the live entries of an id range in ascending order.
pub struct Entries<'a> {
    nodes: &'a Nodes,
    /// The node after the current one.
    place: Option<Place>,
    walk: Option<Walk<'a>>,
    start: Id,
    end: Id,
}

impl<'a> Entries<'a> {
    pub(super) fn new(nodes: &'a Nodes, start: Id, end: Id) -> Entries<'a> {
        Entries { nodes, place: nodes.seek(start), walk: None, start, end }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            for Raw { entry, is_deleted, .. } in self.walk.iter_mut().flatten() {
                if !is_deleted && entry.id >= self.start {
                    if entry.id > self.end {
                        (self.walk, self.place) = (None, None);
                        return None;
                    }
                    return Some(entry);
                }
            }
            let place = self.place?;
            self.walk = Some(self.nodes.get(place).walk());
            self.place = self.nodes.next(place);
        }
    }
}

/// Iterator over the live entries of an id range in descending order.
pub struct EntriesBack<'a> {
    nodes: &'a Nodes,
    /// The node before the current one.
    place: Option<Place>,
    walk: Option<WalkBack<'a>>,
    start: Id,
    end: Id,
}

impl<'a> EntriesBack<'a> {
    pub(super) fn new(nodes: &'a Nodes, start: Id, end: Id) -> EntriesBack<'a> {
        EntriesBack { nodes, place: nodes.seek(end), walk: None, start, end }
    }
}

impl<'a> Iterator for EntriesBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            for Raw { entry, is_deleted, .. } in self.walk.iter_mut().flatten() {
                if !is_deleted && entry.id <= self.end {
                    if entry.id < self.start {
                        (self.walk, self.place) = (None, None);
                        return None;
                    }
                    return Some(entry);
                }
            }
            let place = self.place?;
            self.walk = Some(self.nodes.get(place).walk_back());
            self.place = self.nodes.previous(place);
        }
    }
}
