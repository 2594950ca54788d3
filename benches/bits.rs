//! Bit operations on strings: the cost per byte of counting, searching and combining, in the cache
//! and in memory, and the cost of a bitfield.

use annulet::value::bits::{Field, Operation, Overflow, combine, count, find};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// A string that fits into the first-level cache, and one that fits into no cache.
const SIZES: [(&str, usize); 2] = [("16k", 16 << 10), ("64m", 64 << 20)];

fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bits");
    for (size, len) in SIZES {
        // Written first, because untouched zeros all map to one page of the system.
        let mut zeros = vec![1; len];
        zeros.fill(0);
        let mixed: Vec<u8> = (0..len).map(|at| ((at * 31) >> 3) as u8).collect();
        let all = 0..len as u64 * 8;
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("count_{size}"), |b| {
            b.iter(|| count(black_box(&mixed), all.clone()));
        });
        group.bench_function(format!("find_{size}"), |b| {
            b.iter(|| find(black_box(&zeros), all.clone(), true));
        });
        let sources: [&[u8]; 3] = [&mixed, &zeros, &mixed];
        for (name, operation, many) in
            [("and", Operation::And, 2), ("xor", Operation::Xor, 3), ("not", Operation::Not, 1)]
        {
            group.bench_function(format!("{name}_of_{many}_{size}"), |b| {
                b.iter(|| combine(operation, black_box(&sources[..many])));
            });
        }
    }
    group.finish();
}

fn fields(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bits/field");
    let mut bytes = vec![0; 64];
    for width in [4, 8, 33] {
        let field = Field { offset: 101, width, is_signed: true };
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("add_i{width}"), |b| {
            b.iter(|| {
                let sum = i128::from(field.read(black_box(&bytes))) + 1;
                field.write(&mut bytes, field.fit(sum, Overflow::Wrap).unwrap_or(0));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rows, fields);
criterion_main!(benches);
