//! Sorted sets: the cost of setting, moving, finding and removing a member of a large one, and of a
//! range of members.

use annulet::base::rng::Rng;
use annulet::value::sorted_set::{End, Limits, SortedSet};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const LIMITS: Limits = Limits { listpack_entries: 128, listpack_value: 64 };

/// Members of a large sorted set: more than the caches hold.
const MEMBERS: u64 = 300_000;

/// Members of a range.
const RANGE: usize = 100;

fn name(number: u64) -> String {
    format!("member:{number:012}")
}

fn filled(members: u64) -> SortedSet {
    let mut rng = Rng::new(1);
    let mut set = SortedSet::default();
    for number in 0..members {
        set.put(name(number).as_bytes(), rng.below(members) as f64, &LIMITS);
    }
    set
}

fn members(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sorted_set");
    let mut rng = Rng::new(2);
    group.throughput(Throughput::Elements(1));
    for (size, members) in [("few", 100), ("many", MEMBERS)] {
        let mut set = filled(members);
        group.bench_function(format!("move_{size}"), |b| {
            b.iter_batched(
                || (name(rng.below(members)), rng.below(members) as f64),
                |(name, score)| set.put(black_box(name.as_bytes()), score, &LIMITS),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("score_{size}"), |b| {
            b.iter_batched(
                || name(rng.below(members)),
                |name| set.score(black_box(name.as_bytes())),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("rank_{size}"), |b| {
            b.iter_batched(
                || name(rng.below(members)),
                |name| set.rank(black_box(name.as_bytes())),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("pop_and_put_{size}"), |b| {
            b.iter(|| {
                let mut popped = Vec::new();
                set.pop(End::Min, 1, |item, _| popped = item.to_vec());
                set.put(&popped, rng.below(members) as f64, &LIMITS)
            });
        });
    }
    group.finish();
}

fn ranges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sorted_set/range");
    let set = filled(MEMBERS);
    let mut rng = Rng::new(3);
    group.throughput(Throughput::Elements(RANGE as u64));
    group.bench_function("forward", |b| {
        b.iter(|| {
            let rank = rng.below(MEMBERS) as usize;
            set.iter_from(rank).take(RANGE).map(|(item, _)| item.len()).sum::<usize>()
        });
    });
    group.bench_function("backward", |b| {
        b.iter(|| {
            let rank = rng.below(MEMBERS) as usize;
            set.iter_back_from(rank).take(RANGE).map(|(item, _)| item.len()).sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, members, ranges);
criterion_main!(benches);
