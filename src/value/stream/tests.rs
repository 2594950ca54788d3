//! Tests of streams against models: random operations, loading, freeing, memory.

use super::*;
use crate::base::rng::Rng;
use std::collections::BTreeMap;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

const LIMITS: [Limits; 5] = [
    Limits { node_bytes: 4096, node_entries: 100 },
    Limits { node_bytes: 4096, node_entries: 3 },
    Limits { node_bytes: 4096, node_entries: 1 },
    Limits { node_bytes: 70, node_entries: 0 },
    Limits { node_bytes: 0, node_entries: 0 },
];

/// The expected contents of a log, entry by entry.
#[derive(Default)]
struct Model {
    entries: BTreeMap<Id, Fields>,
    /// For each node the ids of its entries, including deleted ones, and the number of live ones.
    nodes: Vec<(Vec<Id>, usize)>,
    last_id: Id,
    max_deleted_id: Id,
    added: u64,
}

impl Model {
    fn first_id(&self) -> Id {
        self.entries.keys().next().copied().unwrap_or_default()
    }

    fn delete(&mut self, id: Id) -> bool {
        let is_there = self.entries.remove(&id).is_some();
        if is_there {
            self.max_deleted_id = self.max_deleted_id.max(id);
            self.forget(&[id]);
        }
        is_there
    }

    /// Removes nodes without live entries.
    fn forget(&mut self, gone: &[Id]) {
        for (ids, live) in &mut self.nodes {
            *live -= ids.iter().filter(|id| gone.contains(id)).count();
        }
        self.nodes.retain(|(_, live)| *live > 0);
    }

    fn trim(&mut self, trim: &Trim) -> u64 {
        let mut gone = Vec::new();
        let is_live = |entries: &BTreeMap<Id, Fields>, id: &Id| entries.contains_key(id);
        for (ids, live) in &self.nodes {
            let len = self.entries.len() - gone.len();
            let (whole, stops) = match trim.keep {
                Keep::Len(keep) => (len - live >= keep as usize, len <= keep as usize),
                Keep::From(id) => (*ids.last().unwrap() < id, false),
            };
            let too_many = trim.entries_max > 0 && (gone.len() + live) as u64 > trim.entries_max;
            if stops || too_many || (!whole && trim.is_rough) {
                break;
            }
            for id in ids.iter().filter(|id| is_live(&self.entries, id)) {
                let goes = match trim.keep {
                    Keep::Len(keep) => self.entries.len() - gone.len() > keep as usize,
                    Keep::From(start) => *id < start,
                };
                if whole || goes {
                    gone.push(*id);
                }
            }
            if !whole {
                break;
            }
        }
        gone.iter().for_each(|id| drop(self.entries.remove(id)));
        self.forget(&gone);
        gone.len() as u64
    }

    fn compare(&self, log: &Log) {
        assert_eq!(log.len(), self.entries.len() as u64);
        assert_eq!(log.first_id(), self.first_id());
        assert_eq!(log.last_id(), self.last_id);
        assert_eq!(log.max_deleted_id(), self.max_deleted_id);
        assert_eq!(log.entries_added(), self.added);
        assert_eq!(log.nodes_len(), self.nodes.len());
        assert_eq!(log.last_entry_id(), self.entries.keys().next_back().copied());
        let first = self.nodes.first().map_or(Id::MAX, |(ids, _)| ids[0]);
        assert_eq!(log.first_id_with_deleted(), first);
    }

    fn compare_range(&self, log: &Log, start: Id, end: Id) {
        let shown = |entry: Entry<'_>| {
            let fields = entry.fields.map(|(name, value)| (name.to_vec(), value.to_vec()));
            (entry.id, fields.collect::<Fields>())
        };
        let expected: Vec<(Id, Fields)> = match start <= end {
            true => self.entries.range(start..=end).map(|(id, f)| (*id, f.clone())).collect(),
            false => Vec::new(),
        };
        assert_eq!(log.range(start, end).map(shown).collect::<Vec<_>>(), expected);
        let mut back: Vec<_> = log.range_back(start, end).map(shown).collect();
        back.reverse();
        assert_eq!(back, expected);
        assert_eq!(log.get(start).map(shown), self.entries.get_key_value(&start).map(own));
    }
}

fn own((id, fields): (&Id, &Fields)) -> (Id, Fields) {
    (*id, fields.clone())
}

struct Run {
    rng: Rng,
    log: Log,
    model: Model,
    limits: Limits,
}

impl Run {
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// Returns a random id near the ids of the log.
    fn any_id(&mut self) -> Id {
        let ms = self.below(self.model.last_id.ms + 3);
        Id::new(ms, self.below(4))
    }

    fn fields(&mut self) -> Fields {
        let sets: [&[&[u8]]; 4] = [&[b"a"], &[b"a", b"12"], &[b"b", b"12"], &[b"a", b"a", b"-1"]];
        let count = self.below(8).min(3) as usize;
        let names = sets[count].iter();
        let values = names.map(|name| {
            let value = match self.below(4) {
                0 => self.rng.next_u64().to_string().into_bytes(),
                1 => (self.rng.next_u64() as i64 >> self.rng.below(64)).to_string().into_bytes(),
                2 => vec![b'v'; self.rng.below(80) as usize],
                _ => b"value".to_vec(),
            };
            (name.to_vec(), value)
        });
        values.collect()
    }

    fn append(&mut self) {
        let last = self.model.last_id;
        let id = match self.below(3) {
            0 => last.next().unwrap(),
            1 => Id::new(last.ms + 1, 0),
            _ => Id::new(last.ms + 1 + self.below(5), self.below(1_000)),
        };
        let fields = self.fields();
        let nodes = self.log.nodes_len();
        let texts = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        assert!(self.log.append(id, texts, &self.limits));
        if self.log.nodes_len() > nodes {
            self.model.nodes.push((Vec::new(), 0));
        }
        let (ids, live) = self.model.nodes.last_mut().unwrap();
        ids.push(id);
        *live += 1;
        assert!(self.limits.node_entries == 0 || ids.len() as u64 <= self.limits.node_entries);
        self.model.entries.insert(id, fields);
        self.model.last_id = id;
        self.model.added += 1;
    }

    fn trim(&mut self) {
        let len = self.model.entries.len() as u64;
        let keep = match self.below(2) {
            0 => Keep::Len(len.saturating_sub(self.rng.below(12))),
            _ => {
                let first = self.model.first_id().ms;
                Keep::From(Id::new(first + self.below(10), self.rng.below(3)))
            }
        };
        let is_rough = self.below(2) == 0;
        let entries_max = if is_rough { self.below(3) * 7 } else { 0 };
        let trim = Trim { keep, is_rough, entries_max };
        assert_eq!(self.log.trim(&trim), self.model.trim(&trim), "{trim:?}");
    }

    fn step(&mut self) {
        match self.below(20) {
            0..=11 => self.append(),
            12..=14 => {
                let ids: Vec<Id> = (0..1 + self.below(3)).map(|_| self.any_id()).collect();
                let deleted = ids.iter().filter(|id| self.model.delete(**id)).count() as u64;
                assert_eq!(self.log.delete(ids.into_iter()), deleted);
            }
            15 if self.below(3) == 0 => self.trim(),
            16 => {
                let (start, end) = (self.any_id(), self.any_id());
                self.model.compare_range(&self.log, start, end);
            }
            17 if self.below(10) == 0 => self.reload(),
            _ => {}
        }
        self.model.compare(&self.log);
    }

    /// Loads the log again from its parts.
    fn reload(&mut self) {
        let mut loaded = Log::default();
        for node in self.log.nodes() {
            let (id, listpack) = node.parts();
            assert!(loaded.load_node(id, listpack.to_vec()));
            assert!(!loaded.clone().load_node(id, listpack.to_vec()), "ids ascend");
        }
        let log = &self.log;
        loaded.load_counters(log.last_id(), None, log.max_deleted_id(), log.entries_added());
        self.log = loaded;
    }
}

#[test]
fn random_operations_match_the_model() {
    for (seed, limits) in (0..).zip(LIMITS.iter().cycle().take(15)) {
        let limits = *limits;
        let (log, model) = Default::default();
        let mut run = Run { rng: Rng::new(seed), log, model, limits };
        for step in 0..1_500 {
            run.step();
            if step % 50 == 0 {
                run.log.check();
                run.model.compare_range(&run.log, Id::MIN, Id::MAX);
            }
        }
        run.log.check();
    }
}

#[test]
fn thousands_of_nodes_come_and_go() {
    let limits = Limits { node_bytes: 4096, node_entries: 1 };
    let mut log = Log::default();
    let field: [(&[u8], &[u8]); 1] = [(b"a", b"1")];
    for ms in 1..=5_000 {
        assert!(log.append(Id::new(ms, 0), field.into_iter(), &limits));
    }
    log.check();
    for ms in (1..=5_000).filter(|ms| ms % 7 != 0) {
        assert_eq!(log.delete([Id::new(ms, 0)].into_iter()), 1);
    }
    log.check();
    assert_eq!((log.len(), log.first_id()), (714, Id::new(7, 0)));
    assert_eq!(log.range(Id::new(1_000, 0), Id::MAX).next().unwrap().id, Id::new(1_001, 0));
    assert_eq!(log.range_back(Id::MIN, Id::new(1_000, 0)).next().unwrap().id, Id::new(994, 0));
    let mut stream = Stream { log, groups: Groups::new() };
    assert!(!stream.free_step() && stream.free_step());
}

#[test]
fn memory_per_entry_is_within_the_limit() {
    let mut stream = Stream::default();
    let limits = Limits { node_bytes: 4096, node_entries: 100 };
    for number in 0..20_000u64 {
        let value = format!("value{number}");
        let fields: [(&[u8], &[u8]); 2] = [(b"f1", value.as_bytes()), (b"f2", b"v2")];
        // 700 entries per millisecond, as one pipelining client adds them.
        let id = Id::new(1_800_000_000_000 + number / 700, number % 700);
        stream.log_mut().append(id, fields.into_iter(), &limits);
    }
    let bytes = stream.memory_bytes(0);
    assert!(bytes < 27 * 20_000, "{} bytes an entry", bytes as f64 / 20_000.0);
    assert!(stream.memory_bytes(5).abs_diff(bytes) < bytes / 10);
}

#[test]
fn the_lists_of_a_group_and_its_consumers_agree() {
    let mut stream = Stream::default();
    let mut rng = Rng::new(7);
    assert!(stream.add_group(b"g", Id::MIN, Some(0)).is_some());
    assert!(stream.add_group(b"g", Id::MIN, Some(0)).is_none());
    let mut model: BTreeMap<Id, (u64, String)> = BTreeMap::new();
    for _ in 0..3_000 {
        let (_, group) = stream.group_mut(b"g").unwrap();
        let name = format!("c{}", rng.below(5));
        let id = Id::new(1 + rng.below(40), 0);
        match rng.below(10) {
            0..=5 => {
                let found = group.find_consumer(name.as_bytes());
                let new = |group: &mut Group| group.add_consumer(name.as_bytes(), 1, -1).unwrap();
                let consumer = found.unwrap_or_else(|| new(group));
                assert!(group.add_consumer(name.as_bytes(), 1, -1).is_none());
                let deliveries = rng.below(9);
                group.set_pending(id, Pending { delivered_ms: 5, deliveries, consumer });
                model.insert(id, (deliveries, name));
            }
            6..=7 => {
                assert_eq!(group.acknowledge(id).is_some(), model.remove(&id).is_some());
            }
            8 if model.contains_key(&id) => {
                group.deliver_again(id, 9);
                model.get_mut(&id).unwrap().0 += 1;
            }
            _ if rng.below(5) == 0 => {
                let before = model.len();
                model.retain(|_, (_, owner)| *owner != name);
                if let Some(consumer) = group.find_consumer(name.as_bytes()) {
                    assert_eq!(group.remove_consumer(consumer), before - model.len());
                }
            }
            _ => {}
        }
        group.check();
        let shown = group.pending_from(Id::MIN).map(|(id, pending)| {
            let name = &group.consumer(pending.consumer).name;
            (*id, (pending.deliveries, String::from_utf8(name.to_vec()).unwrap()))
        });
        assert!(shown.eq(model.iter().map(|(id, pending)| (*id, pending.clone()))));
        assert_eq!(group.pending_last(), model.keys().next_back().copied());
    }
    assert!(stream.clone().group(b"g").unwrap().pending_len() == model.len());
}

#[test]
fn a_group_is_loaded_and_freed_in_steps() {
    let mut stream = Stream::default();
    for name in [b"g1", b"g2"] {
        let group = stream.add_group(name, Id::new(9, 9), None).unwrap();
        for ms in 0..3_000 {
            assert!(group.load_pending(Id::new(ms, 0), ms as i64, 2));
        }
        assert!(!group.load_pending(Id::new(7, 0), 7, 2) && !group.is_whole());
        let one = group.add_consumer(b"one", 5, -1).unwrap();
        let other = group.add_consumer(b"other", 5, 6).unwrap();
        for ms in 0..3_000 {
            assert!(group.load_owner(Id::new(ms, 0), if ms % 2 == 0 { one } else { other }));
        }
        assert!(!group.load_owner(Id::new(7, 0), one) && !group.load_owner(Id::MAX, one));
        assert!(group.is_whole());
        assert_eq!(group.consumer(other).pending(), 1_500);
    }
    stream.check();
    let steps = std::iter::repeat_with(|| stream.free_step()).take_while(|is_over| !is_over);
    assert!((5..20).contains(&steps.count()));
    assert_eq!(stream.groups().len(), 0);
}

/// Returns the log of a stream to which entries 1 to 5 were added, and entry 3 was deleted.
fn log_with_gap() -> Log {
    let mut log = Log::default();
    let limits = LIMITS[0];
    let field: [(&[u8], &[u8]); 1] = [(b"a", b"1")];
    for ms in 1..=5 {
        log.append(Id::new(ms, 0), field.into_iter(), &limits);
    }
    log.delete([Id::new(3, 0)].into_iter());
    log
}

#[test]
fn counts_are_known_unless_entries_are_missing() {
    let log = log_with_gap();
    let count = |ms: u64| log.count_to(Id::new(ms, 0));
    let counts: Vec<_> = (0..=6).map(count).collect();
    assert_eq!(counts, [None, None, None, None, None, Some(5), None]);
    let lag = |last: u64, read: Option<i64>| Group::new(Id::new(last, 0), read).lag(&log);
    assert_eq!(lag(4, Some(4)), Some(1));
    assert_eq!(lag(4, None), None);
    assert_eq!(lag(2, Some(2)), None, "the deleted entry may not have been read");
    assert_eq!(lag(5, None), Some(0));
    assert_eq!(Group::new(Id::MIN, None).lag(&Log::default()), Some(0));
    let mut group = Group::new(Id::new(4, 0), Some(4));
    group.advance(&log, Id::new(5, 0));
    assert_eq!((group.last_id, group.entries_read), (Id::new(5, 0), Some(5)));
    let mut group = Group::new(Id::MIN, Some(0));
    group.advance(&log, Id::new(1, 0));
    assert_eq!(group.entries_read, None);
}

#[test]
fn tree_nodes_counts_the_nodes_of_a_radix_tree() {
    let mut log = Log::default();
    assert_eq!(log.tree_nodes(), 1);
    let limits = Limits { node_bytes: 4096, node_entries: 1 };
    let field: [(&[u8], &[u8]); 1] = [(b"a", b"1")];
    let mut grown = |id: Id| {
        log.append(id, field.into_iter(), &limits);
        log.tree_nodes()
    };
    // 2: a run of 16 bytes and a leaf. 4: a run of 15, a branch and two leaves. 5: one more leaf.
    assert_eq!(grown(Id::new(1, 1)), 2);
    assert_eq!(grown(Id::new(1, 2)), 4);
    assert_eq!(grown(Id::new(1, 3)), 5);
    // A run of 7 and a branch. A run of 7 to the first three. A run of 8 and a leaf for the last.
    assert_eq!(grown(Id::new(2, 1)), 9);
}

#[test]
fn count_between_is_a_bound_that_stops_early() {
    let mut log = Log::default();
    let limits = Limits { node_bytes: 4096, node_entries: 10 };
    let field: [(&[u8], &[u8]); 1] = [(b"a", b"1")];
    (1..=1_000).for_each(|ms| assert!(log.append(Id::new(ms, 0), field.into_iter(), &limits)));
    let count = |start, end, enough| log.count_between(Id::new(start, 0), Id::new(end, 0), enough);
    assert_eq!(count(1, 5, 5_000), 1_000, "a short stream is not looked at");
    for (start, end) in [(1, 1_000), (300, 305), (995, 2_000), (500, 400), (2_000, 3_000)] {
        let exact = log.range(Id::new(start, 0), Id::new(end, 0)).count() as u64;
        let bound = count(start, end, 1_000);
        assert!((exact..=exact + 20).contains(&bound), "{start} to {end}: {bound} for {exact}");
        assert!(count(start, end, 50) <= bound.min(60));
    }
}
