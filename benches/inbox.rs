//! Guards `mesh/port.rs` and `mesh/sequencer.rs`: the cost of a part from its post to its reply.

use annulet::base::clock::Clock;
use annulet::base::slot::slot_of;
use annulet::commands::FAMILIES;
use annulet::exec::{CommandTable, Entry, Item};
use annulet::mesh::{Envelope, Mesh, Message, Moment, Port, Rules};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Commands in an envelope: half of a pipeline of 16.
const COMMANDS: usize = 8;

fn fill(envelope: &mut Envelope, get: &'static Entry) {
    for _ in 0..COMMANDS {
        let slot = slot_of(b"key:000000012345");
        let item = Item {
            entry: get,
            first: 0,
            argc: 0,
            slot,
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
        envelope.begin(&item, slot);
        envelope.push_arg(b"GET");
        envelope.push_arg(b"key:000000012345");
    }
}

/// The owner's side: answers the received envelopes.
fn answer(port: &mut Port) {
    while let Some(message) = port.receive() {
        if let Message::Part(part) = message
            && let Some(own) = port.answer(part)
        {
            port.recycle(own);
        }
    }
}

/// The home's side: receives the replies.
fn collect(port: &mut Port) {
    while let Some(message) = port.receive() {
        match message {
            Message::Reply(mut reply) => {
                port.take_home(&mut reply);
                port.recycle(black_box(reply));
            }
            Message::Part(part) => {
                let own = port.answer(part).expect("the reply to an own part is complete");
                port.recycle(own);
            }
            other => unreachable!("only parts and replies are sent: {other:?}"),
        }
    }
}

fn bench(criterion: &mut Criterion) {
    let table: &'static CommandTable = Box::leak(Box::new(CommandTable::new(FAMILIES)));
    let get = table.find(b"get").expect("GET exists");
    let mesh = Mesh::new(2, Rules::default(), None);
    let mut home = Port::new(mesh.clone(), Clock::System, 0);
    let mut owner = Port::new(mesh, Clock::System, 1);
    let mut unit = Vec::new();
    let mut group = criterion.benchmark_group("inbox");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    group.bench_function("one part of 8 commands, there and back", |b| {
        b.iter(|| {
            let mut part = home.envelope(1);
            fill(&mut part, get);
            unit.push(part);
            home.post(&mut unit, Moment::default());
            answer(&mut owner);
            collect(&mut home);
        });
    });
    group.bench_function("two parts of 8 commands under the sequencer", |b| {
        b.iter(|| {
            for shard in [0, 1] {
                let mut part = home.envelope(shard);
                fill(&mut part, get);
                unit.push(part);
            }
            home.post(&mut unit, Moment::default());
            answer(&mut owner);
            collect(&mut home);
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
