//! The section of INFO that shows each shard separately, with numbers since the start.

use super::View;
use super::text::Text;
use crate::observe::DatabaseGauges;
use std::fmt::Write;

pub(super) fn shards(view: &View<'_>, text: &mut Text) {
    let boards = &view.process.boards;
    let generation = boards.generation();
    text.field("shards", view.process.shards());
    for (number, board) in boards.iter().enumerate() {
        let sum =
            |one: fn(&DatabaseGauges) -> i64| -> i64 { board.databases.iter().map(one).sum() };
        let counters = &board.counters;
        let values: [(&str, i64); 18] = [
            ("keys", sum(|database| database.keys.get())),
            ("expires", sum(|database| database.volatile.get())),
            ("commands", counters.commands_processed.get() as i64),
            ("connections", board.gauges.clients.get()),
            ("connections_accepted", counters.connections_accepted.get() as i64),
            ("hits", counters.keyspace_hits.get() as i64),
            ("misses", counters.keyspace_misses.get() as i64),
            ("inbox_depth", board.gauges.inbox_depth.get()),
            ("inbox_deepest", board.inbox.recent(generation) as i64),
            ("turns", counters.turns.get() as i64),
            ("longest_turn_us", (board.turn_ns.recent(generation) / 1_000) as i64),
            ("parks", counters.parks.get() as i64),
            ("doorbells", counters.doorbells_rung.get() as i64),
            ("batches_local", counters.batches_local.get() as i64),
            ("batches_remote", counters.batches_remote.get() as i64),
            ("envelopes", counters.envelopes_posted.get() as i64),
            ("stalls", counters.stalled_on_credits.get() as i64),
            ("client_bytes", board.gauges.normal_client_bytes.get()),
        ];
        let mut line = String::new();
        for (name, value) in values {
            let gap = if line.is_empty() { "" } else { "," };
            write!(line, "{gap}{name}={value}").expect("writing to a string does not fail");
        }
        text.field(&format!("shard{number}"), line);
    }
}
