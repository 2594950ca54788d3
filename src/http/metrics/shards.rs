//! Metrics by shard since the start, which only this server has.

use super::exposition::{Exposition, Kind};
use crate::exec::Process;
use crate::observe::{Board, STAGE_CLASSES, Stage, stage_class_bound_ns};

type Read = fn(&Board) -> u64;

/// Name, help text and reader of each counter.
static COUNTERS: &[(&str, &str, Read)] = &[
    ("annulet_shard_commands_total", "Commands run.", |b| b.counters.commands_processed.get()),
    ("annulet_shard_turns_total", "Turns of the loop.", |b| b.counters.turns.get()),
    ("annulet_shard_parks_total", "Turns that slept.", |b| b.counters.parks.get()),
    ("annulet_shard_doorbells_total", "Doorbells rung at other shards.", |b| {
        b.counters.doorbells_rung.get()
    }),
    ("annulet_shard_batches_local_total", "Batches with all keys at home.", |b| {
        b.counters.batches_local.get()
    }),
    ("annulet_shard_batches_remote_total", "Batches with a part on another shard.", |b| {
        b.counters.batches_remote.get()
    }),
    ("annulet_shard_envelopes_total", "Envelopes to other shards.", |b| {
        b.counters.envelopes_posted.get()
    }),
    (
        "annulet_shard_stalls_total",
        "Times that a connection waited for room in another shard's inbox.",
        |b| b.counters.stalled_on_credits.get(),
    ),
    ("annulet_shard_net_input_bytes_total", "From clients.", |b| b.counters.net_input_bytes.get()),
    ("annulet_shard_net_output_bytes_total", "To clients.", |b| b.counters.net_output_bytes.get()),
    ("annulet_shard_keyspace_hits_total", "Reads that found their key.", |b| {
        b.counters.keyspace_hits.get()
    }),
    ("annulet_shard_keyspace_misses_total", "Reads that did not find their key.", |b| {
        b.counters.keyspace_misses.get()
    }),
];

static GAUGES: &[(&str, &str, Read)] = &[
    ("annulet_shard_clients", "Connected clients.", |b| whole(b.gauges.clients.get())),
    ("annulet_shard_keys", "Keys.", |b| {
        whole(b.databases.iter().map(|database| database.keys.get()).sum())
    }),
    ("annulet_shard_client_bytes", "Bytes that clients use.", |b| whole(client_bytes(b))),
    ("annulet_shard_inbox_depth", "Envelopes in the inbox at its last drain.", |b| {
        whole(b.gauges.inbox_depth.get())
    }),
];

/// Returns the bytes that clients and replicas use.
fn client_bytes(board: &Board) -> i64 {
    board.gauges.normal_client_bytes.get() + board.gauges.replica_client_bytes.get()
}

/// Clamps a gauge at zero: a reader may see it in the middle of an update by another thread.
fn whole(value: i64) -> u64 {
    value.max(0) as u64
}

pub(super) fn shards(process: &Process, out: &mut Exposition) {
    let kinds = [(COUNTERS, Kind::Counter), (GAUGES, Kind::Gauge)];
    for (metrics, kind) in kinds {
        for (name, help, read) in metrics {
            let mut family = out.family(name, kind, help);
            for (number, board) in process.boards.iter().enumerate() {
                family.sample(&[("shard", &number.to_string())], read(board));
            }
        }
    }
    let generation = process.boards.generation();
    let help = "The longest turn since the last reset.";
    let mut family = out.family("annulet_shard_longest_turn_seconds", Kind::Gauge, help);
    for (number, board) in process.boards.iter().enumerate() {
        let seconds = board.turn_ns.recent(generation) as f64 / 1e9;
        family.sample(&[("shard", &number.to_string())], seconds);
    }
}

/// Writes the durations of traced requests by stage. There are no sums, because they are not
/// counted.
pub(super) fn stages(process: &Process, out: &mut Exposition) {
    let help = "Durations of the requests that latency-profile-interval samples.";
    let mut family = out.family("annulet_stage_seconds", Kind::Histogram, help);
    for (number, board) in process.boards.iter().enumerate() {
        let shard = &number.to_string();
        let classes = board.stages.classes();
        for stage in Stage::ALL {
            let labels = [("shard", &shard[..]), ("stage", stage.name())];
            let mut sum = 0;
            for (class, count) in classes[stage as usize].iter().enumerate() {
                sum += count;
                let bound = match class {
                    class if class + 1 == STAGE_CLASSES => "+Inf".to_owned(),
                    class => (stage_class_bound_ns(class) as f64 / 1e9).to_string(),
                };
                let bound = [("le", &bound[..])];
                family.part("_bucket", &[&labels[..], &bound].concat(), sum);
            }
            family.part("_count", &labels, sum);
        }
    }
}
