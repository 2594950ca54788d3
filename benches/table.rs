//! The tables in src/keyspace: the cost of a lookup, an overwrite and an insert.

use annulet::base::alloc::CountingAllocator;
use annulet::base::rng::Rng;
use annulet::keyspace::{Expiry, Key, Slice, SliceOptions, Spot};
use annulet::value::string::NewStr;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const KEYS: u64 = 1_000_000;
const BATCH: usize = 16;
const VALUE: [u8; 16] = *b"sixteen bytes...";

fn slice_of(keys: u64) -> Slice {
    let options =
        SliceOptions { databases: 1, slots: (0..16384).into(), hash_seed: [11, 12], seed: 13 };
    let mut slice = Slice::new(options);
    slice.set_now(1_800_000_000_000);
    (0..keys).for_each(|number| insert(&mut slice, number));
    slice
}

/// Returns a key of 10 bytes, as in the memory targets.
fn name_of(number: u64) -> [u8; 10] {
    let mut name = *b"0000000000";
    let mut left = number;
    for byte in name.iter_mut().rev() {
        *byte += (left % 10) as u8;
        left /= 10;
    }
    name
}

fn insert(slice: &mut Slice, number: u64) {
    let name = name_of(number);
    let key = slice.key(&name);
    slice.set(0, &key, NewStr::Bytes(&VALUE), Expiry::Clear);
}

/// Draws the names of many batches beforehand.
fn random_names(rng: &mut Rng) -> Vec<[[u8; 10]; BATCH]> {
    (0..1 << 16).map(|_| std::array::from_fn(|_| name_of(rng.below(KEYS)))).collect()
}

fn keys_of<'k>(slice: &Slice, names: &'k [[u8; 10]; BATCH]) -> [Key<'k>; BATCH] {
    let keys: [Key<'_>; BATCH] = std::array::from_fn(|at| slice.key(&names[at]));
    let spots = keys.map(|key| Spot { hash: key.hash, slot: key.slot, db: 0 });
    spots.iter().for_each(|spot| slice.prefetch_root(*spot));
    slice.prefetch(&spots);
    keys
}

fn table(criterion: &mut Criterion) {
    let mut rng = Rng::new(17);
    let mut slice = slice_of(KEYS);
    let batches = random_names(&mut rng);
    let mut at = 0;
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("get 16 of 1M", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % batches.len();
            for key in keys_of(&slice, &batches[at]) {
                black_box(slice.lookup(0, &key).and_then(|view| view.string()));
            }
        });
    });
    group.bench_function("overwrite 16 of 1M", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % batches.len();
            for key in keys_of(&slice, &batches[at]) {
                slice.set(0, &key, NewStr::Bytes(&VALUE), Expiry::Clear);
            }
        });
    });
    group.throughput(Throughput::Elements(100_000));
    group.sample_size(20);
    group.bench_function("insert 100k from empty", |bencher| {
        bencher.iter(|| drop(black_box(slice_of(100_000))));
    });
    group.finish();
}

criterion_group!(benches, table);
criterion_main!(benches);
