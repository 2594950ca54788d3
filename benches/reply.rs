//! Replies of common commands, sixteen at a time into reused memory.

use annulet::resp::{Output, Protocol, Reply};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const PIPELINE: u64 = 16;

type Write = fn(&mut Reply);

fn reply(c: &mut Criterion) {
    let cases: &[(&str, Write)] = &[
        ("ok", |reply| reply.ok()),
        ("bulk_16", |reply| reply.bulk(black_box(&[b'v'; 16]))),
        ("bulk_64", |reply| reply.bulk(black_box(&[b'v'; 64]))),
        ("integer", |reply| reply.integer(black_box(123_456))),
        ("double", |reply| reply.double(black_box(3.25))),
        ("null", |reply| reply.null()),
    ];
    let mut group = c.benchmark_group("reply");
    group.throughput(Throughput::Elements(PIPELINE));
    for (name, write) in cases {
        let mut out = Output::default();
        group.bench_function(*name, |b| {
            b.iter(|| {
                for _ in 0..PIPELINE {
                    write(black_box(&mut Reply::new(&mut out, Protocol::Two)));
                }
                black_box(out.own_bytes(0..out.len()));
                out.clear();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reply);
criterion_main!(benches);
