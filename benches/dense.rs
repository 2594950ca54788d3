//! The table of large sets and hashes: the cost of a lookup, an overwrite and an insert.

use annulet::base::alloc::CountingAllocator;
use annulet::base::rng::Rng;
use annulet::value::dense::Dense;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::io::Write;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LEN: u64 = 1_000_000;
const VALUE: [u8; 16] = [b'v'; 16];

/// Returns a name of 15 bytes, as in the memory targets.
fn name_of(number: u64) -> [u8; 15] {
    let mut name = [0; 15];
    write!(&mut name[..], "member:{number:08}").expect("the name fits");
    name
}

fn dense(criterion: &mut Criterion) {
    let (mut set, mut hash) = (Dense::new(), Dense::new());
    for number in 0..LEN {
        set.add(&name_of(number));
        hash.insert(&name_of(number), Some(&VALUE), None);
    }
    let each = |dense: &Dense| dense.memory_bytes() as f64 / LEN as f64;
    println!("bytes for each element: set {:.1}, hash {:.1}", each(&set), each(&hash));
    let mut rng = Rng::new(17);
    let mut group = criterion.benchmark_group("dense");
    group.bench_function("contains, 1M", |bencher| {
        bencher.iter(|| black_box(set.contains(&name_of(rng.below(LEN)))));
    });
    group.bench_function("get, 1M", |bencher| {
        bencher.iter(|| black_box(hash.get(&name_of(rng.below(LEN))).is_some()));
    });
    group.bench_function("overwrite, 1M", |bencher| {
        bencher.iter(|| hash.insert(&name_of(rng.below(LEN)), Some(&VALUE), None));
    });
    group.bench_function("remove and add, 1M", |bencher| {
        bencher.iter(|| {
            let name = name_of(rng.below(LEN));
            set.remove(&name);
            set.add(&name)
        });
    });
    group.bench_function("random, 1M", |bencher| {
        bencher.iter(|| black_box(set.random(&mut rng).is_some()));
    });
    let mut number = LEN;
    group.bench_function("add new ones from 1M on", |bencher| {
        bencher.iter(|| {
            number += 1;
            set.add(&name_of(number))
        });
    });
    group.finish();
}

criterion_group!(benches, dense);
criterion_main!(benches);
