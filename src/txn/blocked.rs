//! Clients that wait for the keys of one shard, in the order in which they blocked. Pure: the layer
//! above decides what a change of a key means for them.
//!
//! ```text
//!   queues    (database, key) -> places in order, each with its waiter's ticket number
//!   waiters   ticket number -> blocked command, and its places: one for each key here
//! ```
//! A waiter keeps its places until it is removed. A queue is busy while one of its waiters needs
//! more than this shard's keys of this moment. A busy queue serves no other waiter.

use super::queue::Queue;
use crate::exec::{Mode, Ticket};
use crate::mesh::ReplyAddress;
use crate::resp::Protocol;
use crate::value::Kind;
use std::collections::HashMap;
use std::collections::btree_map::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// The most queues, and the most waiters, whose memory is kept when no client waits.
const KEPT_MAX: usize = 256;

/// Destination of a blocked client's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaiterReply {
    /// Shard of the client's connection.
    pub home: u16,
    /// Address of the reply on that shard.
    pub address: ReplyAddress,
}

/// A blocked command on one shard.
#[derive(Debug)]
pub struct Waiter {
    /// Decides who serves the client.
    pub ticket: Arc<Ticket>,
    /// Destination of the reply.
    pub to: WaiterReply,
    /// Protocol of the reply.
    pub protocol: Protocol,
    /// Queue with one command: the blocked one.
    pub queue: Box<Queue>,
    /// Type that a key must have.
    pub kind: Kind,
    /// Whether a deleted key, or a key that changed its type, also unblocks the command.
    pub wants_gone: bool,
    /// Argument indexes of the keys on this shard that the command waits for, and how it uses them.
    pub keys: Vec<(usize, Mode)>,
    /// Argument indexes of the keys that the command uses in addition to the key that unblocks it.
    pub others: Vec<(usize, Mode)>,
    /// Argument indexes of all keys that the command waits for, on whichever shard they are.
    pub awaits: Vec<(usize, Mode)>,
    /// Whether one of `others` is on another shard.
    pub is_far: bool,
    /// Whether the command also waits for keys of other shards.
    pub is_spread: bool,
}

/// Place of a waiter in the queue of a key.
#[derive(Debug)]
struct Place {
    /// Shared with the index of the queues.
    key: Arc<[u8]>,
    order: u64,
}

#[derive(Debug)]
struct Listed {
    waiter: Waiter,
    db: usize,
    places: Vec<Place>,
    /// See [`Blocked::set_tried`].
    tried: Option<u64>,
}

/// The waiters for one key, in the order in which they blocked.
#[derive(Debug, Default)]
struct KeyQueue {
    places: BTreeMap<u64, (u64, usize)>,
    /// Number of waiters that also wait for the deletion of the key.
    want_gone: usize,
    /// Waiter that the queue is busy with.
    busy: Option<u64>,
}

/// All clients that wait for keys of one shard.
#[derive(Debug, Default)]
pub struct Blocked {
    waiters: HashMap<u64, Listed>,
    /// Indexed by database.
    queues: Vec<HashMap<Arc<[u8]>, KeyQueue>>,
    queues_len: usize,
    /// Number of queues in which a waiter also waits for the deletion of the key.
    want_gone_len: usize,
    next_order: u64,
}

impl Blocked {
    /// Returns whether no client waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Returns the number of waiters.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Returns the number of keys with waiters, and how many of these have a waiter that also waits
    /// for the deletion of the key.
    pub fn keys(&self) -> (usize, usize) {
        (self.queues_len, self.want_gone_len)
    }

    /// Adds a waiter behind all others. A key that the waiter names twice counts once. Returns the
    /// keys that had no waiters before.
    pub fn add(&mut self, db: usize, waiter: Waiter) -> Vec<Arc<[u8]>> {
        let number = waiter.ticket.number();
        if self.queues.len() <= db {
            self.queues.resize_with(db + 1, HashMap::default);
        }
        let places = Vec::with_capacity(waiter.keys.len());
        let mut listed = Listed { waiter, db, places, tried: None };
        let mut new = Vec::new();
        self.enter_all(&mut listed, &mut new);
        let before = self.waiters.insert(number, listed);
        assert!(before.is_none(), "a ticket is added once on a shard");
        new
    }

    /// Puts a waiter behind all others in the queues of its keys that it is not in yet. Appends the
    /// keys that had no waiters before to `new`.
    fn enter_all(&mut self, listed: &mut Listed, new: &mut Vec<Arc<[u8]>>) {
        let Listed { waiter, db, places, .. } = listed;
        let (number, before) = (waiter.ticket.number(), places.len());
        for &(arg, _) in &waiter.keys {
            let key: Arc<[u8]> = waiter.key(arg).into();
            let queue = self.queues[*db].entry(Arc::clone(&key)).or_default();
            let last = queue.places.last_key_value();
            let is_last = last.is_some_and(|(_, (last, _))| *last == number);
            if is_last || places[..before].iter().any(|place| place.key == key) {
                continue;
            }
            let order = self.next_order;
            self.next_order += 1;
            if queue.places.is_empty() {
                self.queues_len += 1;
                new.push(Arc::clone(&key));
            }
            queue.places.insert(order, (number, arg));
            self.want_gone_len += usize::from(waiter.wants_gone && queue.want_gone == 0);
            queue.want_gone += usize::from(waiter.wants_gone);
            places.push(Place { key, order });
        }
    }

    /// Takes a waiter's place out of the queue of its key. Returns whether the queue was busy with
    /// the waiter, and whether the key has no waiters now.
    fn leave(&mut self, db: usize, place: &Place, (number, wants_gone): (u64, bool)) -> [bool; 2] {
        let queue = self.queues[db].get_mut(&place.key).expect("a place is in a queue");
        queue.places.remove(&place.order).expect("a place is in its queue");
        queue.want_gone -= usize::from(wants_gone);
        self.want_gone_len -= usize::from(wants_gone && queue.want_gone == 0);
        let was_busy = queue.busy == Some(number);
        if was_busy {
            queue.busy = None;
        }
        let is_left = queue.places.is_empty();
        if is_left {
            self.queues[db].remove(&place.key);
            self.queues_len -= 1;
        }
        [was_busy, is_left]
    }

    /// Returns the ticket numbers of all waiters in the order in which they blocked. O(waiters).
    pub fn in_order(&self) -> Vec<u64> {
        let first = |listed: &Listed| listed.places.iter().map(|place| place.order).min();
        let mut all: Vec<_> =
            self.waiters.iter().map(|(number, listed)| (first(listed), *number)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, number)| number).collect()
    }

    /// Brings a waiter's places in line with the keys that are on this shard now, because hash
    /// slots have moved: it leaves the queues of keys that are elsewhere. If `enters`, it also
    /// enters the queues of its keys that are here, behind all others. A waiter without a key here
    /// is removed.
    pub fn relist(
        &mut self,
        number: u64,
        is_here: &dyn Fn(&[u8]) -> bool,
        enters: bool,
    ) -> Relisted {
        let mut relisted = Relisted::default();
        let Some(mut listed) = self.waiters.remove(&number) else { return relisted };
        let (places, lost): (Vec<_>, Vec<_>) =
            std::mem::take(&mut listed.places).into_iter().partition(|it| is_here(&it.key));
        listed.places = places;
        let (db, waiter) = (listed.db, &mut listed.waiter);
        for place in lost {
            let [_, is_left] = self.leave(db, &place, (number, waiter.wants_gone));
            relisted.left.extend(is_left.then_some(place.key));
        }
        let on_shard = |waiter: &Waiter, arg: usize| is_here(waiter.key(arg));
        let here = waiter.awaits.iter().filter(|(arg, _)| on_shard(waiter, *arg));
        let here: Vec<_> = here.copied().collect();
        waiter.is_far = !waiter.others.iter().all(|(arg, _)| on_shard(waiter, *arg));
        waiter.is_spread = here.len() < waiter.awaits.len();
        if enters {
            waiter.keys = here;
            self.enter_all(&mut listed, &mut relisted.new);
        } else {
            let keys = std::mem::take(&mut waiter.keys);
            waiter.keys = keys.into_iter().filter(|(arg, _)| on_shard(waiter, *arg)).collect();
        }
        if listed.places.is_empty() {
            return relisted;
        }
        listed.tried = None;
        self.waiters.insert(number, listed);
        relisted
    }

    /// Removes a waiter. Returns it with its database and the keys that have no waiters now.
    /// Appends the keys whose queues were busy with it to `idle`.
    pub fn remove(&mut self, number: u64, idle: &mut Vec<Box<[u8]>>) -> Option<Removed> {
        let Listed { waiter, db, places, .. } = self.waiters.remove(&number)?;
        let mut left = Vec::new();
        for place in places {
            let [was_busy, is_left] = self.leave(db, &place, (number, waiter.wants_gone));
            if was_busy {
                idle.push((*place.key).into());
            }
            left.extend(is_left.then_some(place.key));
        }
        if self.is_empty() {
            self.waiters.shrink_to(KEPT_MAX);
            self.queues.iter_mut().for_each(|queues| queues.shrink_to(KEPT_MAX));
        }
        Some(Removed { waiter, db, left })
    }

    /// Returns the waiter with this ticket number.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Waiter> {
        self.waiters.get_mut(&number).map(|listed| &mut listed.waiter)
    }

    /// Records that a waiter has run in vain after this number of changes.
    pub fn set_tried(&mut self, number: u64, events: u64) {
        if let Some(listed) = self.waiters.get_mut(&number) {
            listed.tried = Some(events);
        }
    }

    /// Returns whether a waiter has run in vain, and nothing has changed since.
    pub fn has_tried(&self, number: u64, events: u64) -> bool {
        self.waiters.get(&number).is_some_and(|listed| listed.tried == Some(events))
    }

    fn queue(&self, db: usize, key: &[u8]) -> Option<&KeyQueue> {
        self.queues.get(db)?.get(key)
    }

    /// Returns the last place in a key's queue; none if the key has no waiters or its queue is
    /// busy.
    pub fn last(&self, db: usize, key: &[u8]) -> Option<u64> {
        let queue = self.queue(db, key).filter(|queue| queue.busy.is_none())?;
        queue.places.last_key_value().map(|(order, _)| *order)
    }

    /// Returns whether a waiter also waits for the deletion of the key.
    pub fn wants_gone(&self, db: usize, key: &[u8]) -> bool {
        self.queue(db, key).is_some_and(|queue| queue.want_gone > 0)
    }

    /// Returns the first place in a key's queue after `after` and up to `last`; none if the queue
    /// is busy or has no such place.
    pub fn next(&self, db: usize, key: &[u8], after: Option<u64>, last: u64) -> Option<BlockedOn> {
        let queue = self.queue(db, key).filter(|queue| queue.busy.is_none())?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        if after.is_some_and(|after| after >= last) {
            return None;
        }
        let (order, (number, arg)) = queue.places.range((from, Bound::Included(last))).next()?;
        Some(BlockedOn { order: *order, number: *number, arg: *arg })
    }

    /// Marks a key's queue as busy with one of its waiters, until the waiter is removed or
    /// [`Blocked::make_idle`] is called.
    pub fn make_busy(&mut self, db: usize, key: &[u8], number: u64) {
        let queue = self.queues[db].get_mut(key).expect("a busy queue has a waiter");
        assert!(queue.busy.is_none(), "a queue has one busy waiter");
        queue.busy = Some(number);
    }

    /// Ends the busy state of all queues that are busy with a waiter. Returns their database and
    /// keys; none if there is no such waiter.
    pub fn make_idle(&mut self, number: u64) -> Option<(usize, Vec<Box<[u8]>>)> {
        let Listed { db, places, .. } = self.waiters.get(&number)?;
        let mut idle = Vec::new();
        for place in places {
            let queue = self.queues[*db].get_mut(&place.key).expect("a place is in a queue");
            if queue.busy == Some(number) {
                queue.busy = None;
                idle.push((*place.key).into());
            }
        }
        Some((*db, idle))
    }

    /// Asserts all invariants. O(waiters), for tests.
    pub fn check(&self) {
        let mut queues = 0;
        let mut places = 0;
        for (db, by_key) in self.queues.iter().enumerate() {
            for (key, queue) in by_key {
                queues += 1;
                places += queue.places.len();
                assert!(!queue.places.is_empty());
                let wants = |number: &u64| self.waiters[number].waiter.wants_gone;
                let want_gone = queue.places.values().filter(|(number, _)| wants(number)).count();
                assert_eq!(queue.want_gone, want_gone);
                for (order, (number, _)) in &queue.places {
                    let listed = &self.waiters[number];
                    let is_it = |place: &Place| place.order == *order && place.key == *key;
                    assert!(listed.db == db && listed.places.iter().any(is_it));
                }
                assert!(queue.busy.is_none_or(|busy| self.waiters.contains_key(&busy)));
            }
        }
        assert_eq!(queues, self.queues_len);
        let all = self.queues.iter().flat_map(HashMap::values);
        assert_eq!(all.filter(|queue| queue.want_gone > 0).count(), self.want_gone_len);
        assert_eq!(places, self.waiters.values().map(|listed| listed.places.len()).sum::<usize>());
    }
}

/// A waiter that was removed.
#[derive(Debug)]
pub struct Removed {
    /// The waiter.
    pub waiter: Waiter,
    /// Database of its keys.
    pub db: usize,
    /// Keys that have no waiters now.
    pub left: Vec<Arc<[u8]>>,
}

/// What [`Blocked::relist`] has changed.
#[derive(Debug, Default)]
pub struct Relisted {
    /// Keys that have no waiters now.
    pub left: Vec<Arc<[u8]>>,
    /// Keys that had no waiters before.
    pub new: Vec<Arc<[u8]>>,
}

/// A place in the queue of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedOn {
    /// Position in the order of the queue.
    pub order: u64,
    /// Ticket number of the waiter.
    pub number: u64,
    /// Index of the waiter's argument that is the key.
    pub arg: usize,
}

impl Waiter {
    /// Iterates over the keys that the command uses on this shard.
    pub fn touched(&self) -> impl Iterator<Item = (usize, Mode)> {
        self.others.iter().chain(&self.keys).copied()
    }

    /// Iterates over all keys that the command uses, on whichever shard they are.
    pub fn all_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.others.iter().chain(&self.awaits).map(|(arg, _)| self.key(*arg))
    }

    /// Iterates over the keys on this shard that the client waits for.
    pub fn awaited(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|(arg, _)| self.key(*arg))
    }

    /// Returns an argument of the command.
    pub fn key(&self, arg: usize) -> &[u8] {
        self.queue.arg(0, arg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::exec::{Command, CommandTable, Item};
    use crate::mesh::{ClientRef, FlightId};
    use crate::spec::{Card, Flag, Group};
    use std::sync::LazyLock;

    static POP: Command = Command::gather(
        |_, _| Ok(()),
        Card::new("pop", Group::List, "1.0.0").arity(-3).flags(Flag::BLOCKING),
    );

    static FAMILIES: &[&[&Command]] = &[&[&POP]];
    static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));

    fn waiter(number: u64, keys: &[&str], wants_gone: bool) -> Waiter {
        let entry = TABLE.find(b"pop").expect("pop is listed");
        let args: Vec<Box<[u8]>> =
            [&["POP"], keys, &["0"]].concat().iter().map(|arg| arg.as_bytes().into()).collect();
        let item = Item {
            entry,
            first: 0,
            argc: 0,
            slot: 0,
            db: 0,
            at: 0,
            sees_due: false,
            is_quiet: false,
            is_tracked: false,
            is_asking: false,
            is_tls: false,
            is_on_port: false,
            is_part: false,
            discovers: false,
            is_counted: false,
            refused: None,
            user: 0,
        };
        let mut queue = Box::<Queue>::default();
        queue.push_args(&item, &args);
        Waiter {
            ticket: Arc::new(Ticket::new(number)),
            to: WaiterReply {
                home: 0,
                address: ReplyAddress {
                    client: ClientRef { conn: 0, generation: 0 },
                    flight: FlightId(0),
                },
            },
            protocol: Protocol::Two,
            queue,
            kind: Kind::List,
            wants_gone,
            keys: (1..=keys.len()).map(|arg| (arg, Mode::Exclusive)).collect(),
            others: Vec::new(),
            awaits: (1..=keys.len()).map(|arg| (arg, Mode::Exclusive)).collect(),
            is_far: false,
            is_spread: false,
        }
    }

    /// Returns the ticket numbers of the waiters for a key, in order.
    fn order(blocked: &Blocked, db: usize, key: &str) -> Vec<u64> {
        let key = key.as_bytes();
        let Some(last) = blocked.last(db, key) else { return Vec::new() };
        let mut after = None;
        let next = || {
            let place = blocked.next(db, key, after, last)?;
            after = Some(place.order);
            Some(place.number)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn waiters_are_served_in_the_order_in_which_they_blocked() {
        let mut blocked = Blocked::default();
        assert_eq!(blocked.add(0, waiter(1, &["a", "b", "a"], false)).len(), 2);
        assert_eq!(blocked.add(0, waiter(2, &["b"], true)).len(), 0);
        assert_eq!(blocked.add(3, waiter(3, &["b", "c"], false)).len(), 2);
        blocked.check();
        assert_eq!((blocked.len(), blocked.keys()), (3, (4, 1)));
        assert_eq!(order(&blocked, 0, "b"), [1, 2]);
        assert_eq!((order(&blocked, 3, "b"), order(&blocked, 1, "b")), (vec![3], vec![]));
        assert!(blocked.wants_gone(0, b"b") && !blocked.wants_gone(0, b"a"));
        blocked.make_busy(0, b"b", 1);
        assert_eq!((order(&blocked, 0, "b"), order(&blocked, 0, "a")), (vec![], vec![1]));
        let idle = blocked.make_idle(1).expect("waiter exists");
        assert_eq!(idle, (0, vec![Box::from(&b"b"[..])]));
        assert_eq!(order(&blocked, 0, "b"), [1, 2]);
        blocked.make_busy(0, b"b", 1);
        let mut idle = Vec::new();
        let removed = blocked.remove(1, &mut idle).expect("waiter exists");
        assert_eq!((removed.db, removed.left), (0, vec![Arc::from(&b"a"[..])]));
        assert_eq!(idle, [Box::from(&b"b"[..])]);
        assert_eq!(removed.waiter.key(2), b"b");
        assert!(blocked.remove(1, &mut idle).is_none());
        blocked.check();
    }

    #[test]
    fn random_waiters_match_a_list_model() {
        let mut rng = Rng::new(11);
        let mut blocked = Blocked::default();
        let mut model: Vec<(u64, usize, Vec<&str>)> = Vec::new();
        let names = ["a", "b", "c", "d"];
        for number in 0..3_000 {
            if rng.below(5) < 3 && model.len() < 40 {
                let keys: Vec<&str> =
                    (0..1 + rng.below(3)).map(|_| names[rng.below(4) as usize]).collect();
                let db = rng.below(2) as usize;
                blocked.add(db, waiter(number, &keys, rng.below(4) == 0));
                model.push((number, db, keys));
            } else if !model.is_empty() {
                let (number, ..) = model.remove(rng.below(model.len() as u64) as usize);
                let removed = blocked.remove(number, &mut Vec::new()).expect("waiter exists");
                assert_eq!(removed.waiter.ticket.number(), number);
            }
            let (db, name) = (rng.below(2) as usize, names[rng.below(4) as usize]);
            let is_its =
                |(_, its, keys): &&(u64, usize, Vec<&str>)| *its == db && keys.contains(&name);
            let expected: Vec<u64> =
                model.iter().filter(is_its).map(|(number, ..)| *number).collect();
            assert_eq!(order(&blocked, db, name), expected);
            if number % 50 == 0 {
                blocked.check();
            }
        }
    }
}
