//! The sections of INFO that count: the boards of all shards, added up.

use super::View;
use super::text::Text;

pub(super) fn stats(view: &View<'_>, text: &mut Text) {
    let totals = view.process.boards.totals();
    text.field("total_connections_received", totals.connections_received);
    text.field("total_commands_processed", totals.commands_processed);
    text.field("total_net_input_bytes", totals.net_input_bytes);
    text.field("total_net_output_bytes", totals.net_output_bytes);
    text.field("rejected_connections", totals.connections_rejected);
    let (full, partial, refused) = {
        let facts = view.process.replication();
        (facts.syncs_full, facts.syncs_partial, facts.syncs_partial_refused)
    };
    text.field("sync_full", full);
    text.field("sync_partial_ok", partial);
    text.field("sync_partial_err", refused);
    text.field("expired_keys", totals.expired_lazy + totals.expired_active);
    text.field("expired_fields", totals.expired_fields);
    text.field("evicted_keys", 0);
    text.field("evicted_clients", totals.clients_evicted);
    text.field("keyspace_hits", totals.keyspace_hits);
    text.field("keyspace_misses", totals.keyspace_misses);
    text.field("pubsub_channels", 0);
    text.field("pubsub_patterns", 0);
    text.field("pubsubshard_channels", 0);
    text.field("latest_fork_usec", 0);
    text.field("total_forks", 0);
    text.field("unexpected_error_replies", 0);
    text.field("total_error_replies", totals.error_replies);
    text.field("client_query_buffer_limit_disconnections", totals.query_limit_disconnections);
    text.field("client_output_buffer_limit_disconnections", totals.output_limit_disconnections);
    text.field("eventloop_cycles", totals.turns);
}

pub(super) fn commandstats(view: &View<'_>, text: &mut Text) {
    for entry in view.process.commands.walk() {
        let stats = view.process.boards.command(usize::from(entry.index));
        if stats.calls == 0 && stats.rejected == 0 && stats.failed == 0 {
            continue;
        }
        let us = stats.ns / 1_000;
        let each = if stats.calls == 0 { 0.0 } else { stats.ns as f64 / 1e3 / stats.calls as f64 };
        text.field(
            &format!("cmdstat_{}", entry.name),
            format_args!(
                "calls={},usec={us},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                stats.calls, stats.rejected, stats.failed
            ),
        );
    }
}

pub(super) fn errorstats(view: &View<'_>, text: &mut Text) {
    for (word, count) in view.process.boards.errors() {
        text.field(&format!("errorstat_{word}"), format_args!("count={count}"));
    }
}

/// Microseconds with three digits, at the percentiles of `latency-tracking-info-percentiles`.
pub(super) fn latencystats(view: &View<'_>, text: &mut Text) {
    let config = view.process.config.snapshot();
    if !config.latency_tracking {
        return;
    }
    for entry in view.process.commands.walk() {
        let Some(histogram) = view.process.boards.latencies(usize::from(entry.index)) else {
            continue;
        };
        let percentiles = config.latency_tracking_info_percentiles.iter().map(|percentile| {
            let ns = histogram.value_at_percentile(percentile.parse().unwrap_or(100.0));
            format!("p{percentile}={:.3}", ns as f64 / 1e3)
        });
        let percentiles: Vec<String> = percentiles.collect();
        text.field(&format!("latency_percentiles_usec_{}", entry.name), percentiles.join(","));
    }
}

pub(super) fn keyspace(view: &View<'_>, text: &mut Text) {
    for db in 0..view.process.config.snapshot().databases as usize {
        let [keys, expires, with_fields] = view.process.boards.database(db);
        if keys > 0 {
            let value = format!(
                "keys={keys},expires={expires},avg_ttl=0,keys_with_volatile_items={with_fields}"
            );
            text.field(&format!("db{db}"), value);
        }
    }
}
