//! Pipelines of small requests: received, split into commands, released.

use annulet::net::Input;
use annulet::resp::Limits;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const LIMITS: Limits = Limits { bulk_len_max: 512 << 20, authenticated: true };
const PIPELINE: u64 = 16;

fn request(args: &[&str]) -> String {
    args.iter().map(|arg| format!("${}\r\n{arg}\r\n", arg.len())).collect()
}

fn parser(c: &mut Criterion) {
    let value = "v".repeat(64);
    let cases = [
        ("get", vec!["GET", "key:000000012345"]),
        ("incrby", vec!["INCRBY", "key:000000012345", "17"]),
        ("set_64", vec!["SET", "key:000000012345", &value]),
    ];
    let mut group = c.benchmark_group("parser");
    group.throughput(Throughput::Elements(PIPELINE));
    for (name, args) in cases {
        let one = format!("*{}\r\n{}", args.len(), request(&args));
        let bytes = one.repeat(PIPELINE as usize).into_bytes();
        let mut input = Input::default();
        let mut spans = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                input.receive(black_box(&bytes));
                let mut commands = 0;
                while let Ok(Some(request)) = input.next(&LIMITS, &mut spans) {
                    black_box(request);
                    commands += 1;
                }
                assert_eq!(commands, PIPELINE);
                spans.clear();
                input.consume();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parser);
criterion_main!(benches);
