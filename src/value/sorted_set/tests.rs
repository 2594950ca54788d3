//! Tests of both forms with random operations against a model.

use super::*;
use crate::base::rng::Rng;
use crate::value::string::IntText;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { listpack_entries: 128, listpack_value: 64 };

/// Members with their scores.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, f64>);

impl Model {
    fn in_order(&self) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, score)| (name.clone(), *score)).collect();
        all.sort_by(|one, other| {
            one.1.partial_cmp(&other.1).expect("no score is NaN").then_with(|| one.0.cmp(&other.0))
        });
        all
    }
}

fn collect<'a>(members: impl Iterator<Item = (Item<'a>, f64)>) -> Vec<(Vec<u8>, f64)> {
    members.map(|(item, score)| (item.to_vec(), score)).collect()
}

/// Returns a random member: a number, a short text, or rarely a long text.
fn member(rng: &mut Rng, names: u64) -> Vec<u8> {
    let number = rng.below(names);
    match number % 8 {
        0..4 => number.to_string().into_bytes(),
        7 if number % 512 == 7 => vec![b'x'; (number * 7 % 5_000) as usize],
        _ => format!("member:{number:08}").into_bytes(),
    }
}

fn score(rng: &mut Rng, scores: u64) -> f64 {
    match rng.below(40) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => -0.0,
        3 => 0.1 * rng.below(scores) as f64,
        _ => rng.below(scores) as f64 - scores as f64 / 3.0,
    }
}

fn compare(set: &SortedSet, model: &Model, rng: &mut Rng) {
    set.check();
    let expected = model.in_order();
    assert_eq!(set.len(), expected.len());
    assert_eq!(collect(set.iter_from(0)), expected);
    let rank = rng.below(expected.len() as u64 + 2) as usize;
    assert_eq!(collect(set.iter_from(rank)), expected[rank.min(expected.len())..]);
    let mut back = collect(set.iter_back_from(rank));
    back.reverse();
    assert_eq!(back, expected[..(rank + 1).min(expected.len())]);
    for _ in 0..20.min(expected.len()) {
        let rank = rng.below(expected.len() as u64) as usize;
        let (name, score) = &expected[rank];
        assert_eq!(set.rank_and_score(name), Some((rank, *score)));
    }
    let (min, max) = (score(rng, 50), score(rng, 50));
    let (is_min_open, is_max_open) = (rng.below(2) == 0, rng.below(2) == 0);
    let range = ScoreRange { min, max, is_min_open, is_max_open };
    let ranks = set.ranks_by_score(&range);
    let is_inside = |score: f64| !range.is_below(score) && !range.is_above(score);
    let inside: Vec<_> = expected.iter().filter(|(_, score)| is_inside(*score)).cloned().collect();
    assert_eq!(expected[ranks], inside);
    let limit = score(rng, 100);
    let before = expected.iter().filter(|(_, score)| *score < limit).count();
    assert_eq!(set.rank_where(|score, _| score < limit), before);
}

/// Applies one random operation to the set and the model.
fn step(set: &mut SortedSet, model: &mut Model, rng: &mut Rng, names: u64, limits: &Limits) {
    let name = member(rng, names);
    match rng.below(20) {
        0..12 => {
            let score = score(rng, names / 2 + 1);
            let old = model.0.get(&name).copied();
            let put = set.put(&name, score, limits);
            let expected = match old {
                None => Put::New,
                Some(old) if old == score => Put::Same,
                Some(_) => Put::Moved,
            };
            assert_eq!(put, expected);
            if put != Put::Same {
                model.0.insert(name, score);
            }
        }
        12..18 => assert_eq!(set.remove(&name), model.0.remove(&name)),
        18 => {
            let end = if rng.below(2) == 0 { End::Min } else { End::Max };
            let count = rng.below(4) as usize;
            let mut popped = Vec::new();
            set.pop(end, count, |item, score| popped.push((item.to_vec(), score)));
            let mut expected = model.in_order();
            if end == End::Max {
                expected.reverse();
            }
            expected.truncate(count);
            assert_eq!(popped, expected);
            for (name, _) in &expected {
                model.0.remove(name);
            }
        }
        _ => {
            let len = model.0.len();
            let start = rng.below(len as u64 + 1) as usize;
            let end = (start + rng.below(8) as usize).min(len);
            for (name, _) in &model.in_order()[start..end] {
                model.0.remove(name);
            }
            set.remove_ranks(start..end);
        }
    }
    assert_eq!(set.score(b"absent"), None);
}

#[test]
fn random_operations_match_the_model() {
    for (seed, names, steps) in [(1, 20, 2_000), (2, 200, 4_000), (3, 3_000, 6_000)] {
        for limits in [LIMITS, Limits { listpack_entries: 0, listpack_value: 64 }] {
            let mut rng = Rng::new(seed);
            let (mut set, mut model) = (SortedSet::default(), Model::default());
            // Only the packed form loses the sign of zero, and the model ignores it.
            for at in 0..steps {
                step(&mut set, &mut model, &mut rng, names, &limits);
                if at % 97 == 0 {
                    compare(&set, &model, &mut rng);
                }
            }
            compare(&set, &model, &mut rng);
        }
    }
}

#[test]
fn many_members_grow_and_shrink() {
    for (seed, order) in [(5, "random"), (6, "ascending"), (7, "descending"), (8, "equal")] {
        let mut rng = Rng::new(seed);
        let mut set = SortedSet::default();
        let mut model = Model::default();
        let total = 20_000;
        for number in 0..total {
            let score = match order {
                "random" => rng.below(1_000_000) as f64,
                "ascending" => number as f64,
                "descending" => -(number as f64),
                _ => 0.0,
            };
            let name = format!("{:05}", number * 7919 % total).into_bytes();
            set.put(&name, score, &LIMITS);
            model.0.insert(name, score);
            if number % 4_000 == 0 {
                compare(&set, &model, &mut rng);
            }
        }
        compare(&set, &model, &mut rng);
        let names: Vec<_> = model.0.keys().cloned().collect();
        for (at, name) in names.iter().enumerate().filter(|(at, _)| at % 3 != 0) {
            assert_eq!(set.remove(name), model.0.remove(name));
            if at % 4_000 == 1 {
                compare(&set, &model, &mut rng);
            }
        }
        compare(&set, &model, &mut rng);
        let gone = model.in_order();
        set.remove_ranks(100..6_000);
        for (name, _) in &gone[100..6_000] {
            model.0.remove(name);
        }
        compare(&set, &model, &mut rng);
        set.pop(End::Max, usize::MAX, |_, _| {});
        set.check();
        assert_eq!((set.len(), set.encoding()), (0, "skiplist"));
        set.put(b"again", 1.0, &LIMITS);
        set.check();
    }
}

#[test]
fn texts_of_one_score_are_in_order() {
    for entries in [0, 128] {
        let limits = Limits { listpack_entries: entries, listpack_value: 64 };
        let mut set = SortedSet::default();
        let names: Vec<String> = (0..100).map(|n| format!("{}", n * 37 % 100)).collect();
        for name in &names {
            set.put(name.as_bytes(), 1.0, &limits);
        }
        let mut sorted = names.clone();
        sorted.sort();
        let mut text = IntText::new();
        for (min, max) in [("10", "20"), ("", "5"), ("99", "5"), ("5", "5"), ("zz", "zzz")] {
            let (min, max) = (min.as_bytes(), max.as_bytes());
            let ends = [
                (LexEnd::Closed(min), LexEnd::Closed(max)),
                (LexEnd::Open(min), LexEnd::Open(max)),
                (LexEnd::Before, LexEnd::Open(max)),
                (LexEnd::Closed(min), LexEnd::Behind),
                (LexEnd::Behind, LexEnd::Before),
            ];
            for (min, max) in ends {
                let range = LexRange::new(min, max);
                let inside: Vec<_> = sorted
                    .iter()
                    .filter(|name| {
                        let item = Item::of(name.as_bytes());
                        !range.is_below(&item) && !range.is_above(&item)
                    })
                    .cloned()
                    .collect();
                for is_reverse in [false, true] {
                    let ranks = set.ranks_by_lex(&range, is_reverse);
                    let found = set.iter_from(ranks.start).take(ranks.len());
                    let found: Vec<_> = found
                        .map(|(item, _)| String::from_utf8_lossy(item.text(&mut text)).into_owned())
                        .collect();
                    assert_eq!(found, inside, "{range:?}");
                }
            }
        }
    }
}

#[test]
fn forms_change_at_the_limits_and_never_back() {
    let mut set = SortedSet::default();
    for number in 0..128 {
        set.put(format!("m{number}").as_bytes(), f64::from(number), &LIMITS);
    }
    assert_eq!(set.encoding(), "listpack");
    set.put(b"m5", 1_000.0, &LIMITS);
    assert_eq!(set.encoding(), "listpack");
    set.put(b"one more", 0.0, &LIMITS);
    assert_eq!(set.encoding(), "skiplist");
    set.check();
    set.remove_ranks(0..100);
    assert_eq!((set.len(), set.encoding()), (29, "skiplist"));
    let mut long = SortedSet::default();
    long.put(&[b'x'; 64], 1.0, &LIMITS);
    assert_eq!(long.encoding(), "listpack");
    long.put(&[b'x'; 65], 1.0, &LIMITS);
    assert_eq!(long.encoding(), "skiplist");
    let mut prepared = SortedSet::default();
    prepared.prepare(128, 64, &LIMITS);
    assert!(prepared.is_packed());
    prepared.prepare(129, 64, &LIMITS);
    assert!(!prepared.is_packed());
}

#[test]
fn the_sign_of_zero_is_kept_in_the_large_form_only() {
    let mut set = SortedSet::default();
    set.put(b"a", -0.0, &LIMITS);
    assert!(set.score(b"a").is_some_and(f64::is_sign_positive));
    set.prepare(1_000, 0, &LIMITS);
    assert_eq!(set.put(b"a", -0.0, &LIMITS), Put::Same);
    set.put(b"b", -0.0, &LIMITS);
    assert!(set.score(b"b").is_some_and(f64::is_sign_negative));
}

#[test]
fn long_members_have_leaves_of_their_own() {
    let mut rng = Rng::new(9);
    let (mut set, mut model) = (SortedSet::default(), Model::default());
    for number in 0..600u64 {
        let len = if number % 5 == 0 { 1_000 + rng.below(100_000) } else { rng.below(300) };
        let mut name = vec![b'a' + (number % 26) as u8; len as usize];
        name.extend(number.to_be_bytes());
        let score = rng.below(20) as f64;
        set.put(&name, score, &LIMITS);
        model.0.insert(name, score);
    }
    compare(&set, &model, &mut rng);
    let names: Vec<_> = model.0.keys().cloned().collect();
    for name in names.iter().step_by(2) {
        assert_eq!(set.remove(name), model.0.remove(name));
    }
    compare(&set, &model, &mut rng);
}

#[test]
fn a_scan_visits_all_permanent_members() {
    for count in [1, 10, 1_000] {
        let mut rng = Rng::new(11);
        let mut set = SortedSet::default();
        let name = |number: u64| format!("member:{number}").into_bytes();
        for number in 0..3_000 {
            set.put(&name(number), number as f64, &LIMITS);
        }
        let mut visited = BTreeMap::<Vec<u8>, usize>::new();
        let (mut cursor, mut calls) = (0, 0);
        loop {
            let mut given = 0;
            cursor = set.scan(cursor, count, |item, _| {
                *visited.entry(item.to_vec()).or_default() += 1;
                given += 1;
            });
            assert!(given <= count + 2);
            calls += 1;
            if cursor == 0 {
                break;
            }
            // Other members come and go and all scores change. Members below 1,000 stay.
            for _ in 0..3 {
                let number = 1_000 + rng.below(20_000);
                if rng.below(3) == 0 {
                    set.remove(&name(number));
                } else {
                    set.put(&name(number), rng.below(9_999) as f64, &LIMITS);
                }
                set.put(&name(rng.below(1_000)), rng.below(9_999) as f64, &LIMITS);
            }
        }
        set.check();
        assert!((0..1_000).all(|number| visited.get(&name(number)) == Some(&1)));
        assert!(calls >= 1_000 / count);
    }
    let empty = SortedSet::default();
    assert_eq!(empty.scan(7, 10, |_, _| {}), 0);
    let mut set = SortedSet::default();
    set.prepare(1_000, 0, &LIMITS);
    set.put(b"a", 1.0, &LIMITS);
    for cursor in [1, 1 << 31, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        assert_eq!(set.scan(cursor, 10, |_, _| {}), 0);
    }
}

#[test]
fn a_large_set_is_compact_and_freed_in_steps() {
    assert_eq!(size_of::<SortedSet>(), 16);
    let mut set = SortedSet::default();
    let total = 40_000;
    for number in 0..total {
        let name = format!("member:{number:08}");
        set.put(name.as_bytes(), number as f64, &LIMITS);
    }
    let copy = set.clone();
    copy.check();
    let per_member = set.memory_bytes(0) / total;
    assert!((30..48).contains(&per_member), "{per_member} bytes per member");
    let mut steps = 1;
    while !set.free_step() {
        steps += 1;
    }
    assert!((5..50).contains(&steps), "{steps} steps");
    assert_eq!(copy.len(), total);
}
