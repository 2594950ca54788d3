//! The sections of INFO with statistics, summed over the boards of all shards.

use super::View;
use super::text::Text;
use crate::control::kept_peers;
use crate::observe::{Rate, Totals};
use crate::pubsub::{Count, Sort};

pub(super) fn stats(view: &View<'_>, text: &mut Text) {
    let boards = &view.process.boards;
    let totals = boards.totals();
    traffic(view, &totals, text);
    expiry(view, &totals, text);
    text.field("keyspace_hits", totals.keyspace_hits);
    text.field("keyspace_misses", totals.keyspace_misses);
    for (name, sort) in [
        ("pubsub_channels", Sort::Channel),
        ("pubsub_patterns", Sort::Pattern),
        ("pubsubshard_channels", Sort::ShardChannel),
    ] {
        text.field(name, view.process.pubsub.count(Count::Names(sort)));
    }
    text.field("latest_fork_usec", 0);
    text.field("total_forks", 0);
    text.field("migrate_cached_sockets", kept_peers());
    let gauges = view.process.boards.gauges();
    // An entry is one block, so keys and blocks are the same here.
    text.field("active_defrag_hits", totals.entries_moved);
    text.field("active_defrag_misses", totals.entries_not_moved);
    text.field("active_defrag_key_hits", totals.entries_moved);
    text.field("active_defrag_key_misses", totals.entries_not_moved);
    text.field("total_active_defrag_time", totals.compact_ns_sum / 1_000_000);
    text.field("tracking_total_keys", gauges.tracked_keys);
    text.field("tracking_total_items", gauges.tracked_readers);
    text.field("tracking_total_prefixes", view.process.trackers.prefixes());
    text.field("unexpected_error_replies", 0);
    text.field("total_error_replies", totals.error_replies);
    text.field("total_reads_processed", totals.reads);
    text.field("total_writes_processed", totals.writes);
    text.field("client_query_buffer_limit_disconnections", totals.query_limit_disconnections);
    text.field("client_output_buffer_limit_disconnections", totals.output_limit_disconnections);
    text.field("eventloop_cycles", totals.cycles);
    text.field("eventloop_duration_sum", totals.cycle_ns_sum / 1_000);
    text.field("eventloop_duration_cmd_sum", boards.commands_ns().div_ceil(1_000));
    let cycles = boards.rates.per_second(Rate::Cycles);
    let turn_ns = boards.rates.per_second(Rate::CycleNs) / cycles.max(1.0);
    text.field("instantaneous_eventloop_cycles_per_sec", cycles as u64);
    text.field("instantaneous_eventloop_duration_usec", (turn_ns / 1e3).ceil() as u64);
    text.field("acl_access_denied_auth", totals.auth_failures);
    text.field("acl_access_denied_cmd", totals.commands_denied);
    text.field("acl_access_denied_key", totals.keys_denied);
    text.field("acl_access_denied_channel", totals.channels_denied);
    text.field("acl_access_denied_tls_cert", totals.certificates_denied);
    text.field("acl_access_denied_db", totals.databases_denied);
}

fn traffic(view: &View<'_>, totals: &Totals, text: &mut Text) {
    let rates = &view.process.boards.rates;
    text.field("total_connections_received", totals.connections_received);
    text.field("total_commands_processed", totals.commands_processed);
    text.field("instantaneous_ops_per_sec", rates.per_second(Rate::Commands) as u64);
    text.field("total_net_input_bytes", totals.net_input_bytes);
    text.field("total_net_output_bytes", totals.net_output_bytes);
    text.field("total_net_repl_input_bytes", 0);
    text.field("total_net_repl_output_bytes", totals.replica_output_bytes);
    for (name, rate) in [
        ("input", Some(Rate::InputBytes)),
        ("output", Some(Rate::OutputBytes)),
        ("input_repl", None),
        ("output_repl", Some(Rate::ReplicaBytes)),
    ] {
        let kib = rate.map_or(0.0, |rate| rates.per_second(rate)) / 1024.0;
        text.field(&format!("instantaneous_{name}_kbps"), format_args!("{kib:.2}"));
    }
    text.field("rejected_connections", totals.connections_rejected);
    let (full, partial, refused) = {
        let facts = view.process.replication();
        (facts.syncs_full, facts.syncs_partial, facts.syncs_partial_refused)
    };
    text.field("sync_full", full);
    text.field("sync_partial_ok", partial);
    text.field("sync_partial_err", refused);
}

/// Writes the numbers of keys that expired or were evicted. Expired keys are found by summaries and
/// not by sampling. So none is left over, and no cycle ends early.
fn expiry(view: &View<'_>, totals: &Totals, text: &mut Text) {
    text.field("expired_keys", totals.expired_lazy + totals.expired_active);
    text.field("expired_fields", totals.expired_fields);
    text.field("expired_stale_perc", "0.00");
    text.field("expired_keys_with_volatile_items_stale_perc", "0.00");
    text.field("expired_time_cap_reached_count", 0);
    text.field("expire_cycle_cpu_milliseconds", totals.expire_ns_sum / 1_000_000);
    text.field("evicted_keys", totals.evicted);
    text.field("evicted_clients", totals.clients_evicted);
    text.field("evicted_scripts", view.process.scripts.evicted());
    let now_ms = view.process.clock.monotonic_ns() / 1_000_000;
    let (total_ms, present_ms) = view.process.room.exceeded_ms(now_ms);
    text.field("total_eviction_exceeded_time", total_ms);
    text.field("current_eviction_exceeded_time", present_ms);
}

/// Writes internal statistics, which are only shown on request.
pub(super) fn debug(view: &View<'_>, text: &mut Text) {
    let boards = &view.process.boards;
    let totals = boards.totals();
    text.field("eventloop_duration_aof_sum", 0);
    text.field("eventloop_duration_cron_sum", totals.tick_ns_sum / 1_000);
    text.field("eventloop_duration_max", boards.longest_turn_ns().0 / 1_000);
    text.field("eventloop_cmd_per_cycle_max", boards.most_commands());
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
    for (code, count) in view.process.boards.errors() {
        text.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// Writes microseconds with three digits, at the percentiles of
/// `latency-tracking-info-percentiles`.
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
    for db in 0..view.process.config.snapshot().database_count() as usize {
        let [keys, expires, with_fields] = view.process.boards.database(db);
        if keys > 0 {
            let ttl_ms = view.process.boards.ttl_ms(db);
            let value = format!(
                "keys={keys},expires={expires},avg_ttl={ttl_ms},\
                 keys_with_volatile_items={with_fields}"
            );
            text.field(&format!("db{db}"), value);
        }
    }
}
