//! `/metrics`: the text exposition format of Prometheus, version 0.0.4.
//!
//! The names are redis_exporter's, so that its dashboards work. Like redis_exporter, this module
//! derives the metrics from INFO: a new field of INFO gets its metric by one line in [`names`].
//! Metrics that only this server has are read from the boards and have the prefix `annulet_`.

mod commands;
mod exposition;
mod info;
mod logs;
mod names;
mod shards;

use super::limits::DATABASES_EMPTY_MAX;
use crate::commands::info_text;
use crate::config::VERSION;
use crate::exec::Process;
use exposition::{Exposition, Kind};
use info::Info;
use names::{NAMES, Unit};

/// Returns all metrics. It takes the locks that INFO takes, each for microseconds, and sends no
/// message to the shards.
pub(super) fn metrics(process: &Process) -> String {
    let text = info_text(process, process.clock.unix_us(), true);
    let info = Info::read(&text);
    let mut out = Exposition::default();
    instance(process, &info, &mut out);
    fields(&info, &mut out);
    settings(process, &mut out);
    databases(process, &info, &mut out);
    replicas(&info, &mut out);
    commands::commands(process, &info, &mut out);
    logs::commands(process, &mut out);
    logs::events(process, &mut out);
    shards::shards(process, &mut out);
    shards::stages(process, &mut out);
    out.into_string()
}

/// Writes the metrics about the server itself.
fn instance(process: &Process, info: &Info<'_>, out: &mut Exposition) {
    out.one("redis_up", Kind::Gauge, "Whether the server answers.", 1);
    let help = "Unix time of the start, seconds.";
    out.one("redis_start_time_seconds", Kind::Gauge, help, process.started_s);
    const LABELS: &[&str] = &[
        "role",
        "redis_version",
        "redis_build_id",
        "redis_mode",
        "os",
        "maxmemory_policy",
        "tcp_port",
        "run_id",
        "process_id",
        "master_replid",
        "valkey_version",
    ];
    let value = |name: &'static str| match info.field(name) {
        None if name == "redis_mode" => info.field("server_mode").unwrap_or_default(),
        found => found.unwrap_or_default(),
    };
    let labels: Vec<(&str, &str)> = LABELS.iter().map(|name| (*name, value(name))).collect();
    let mut family = out.family("redis_instance_info", Kind::Gauge, "The server.");
    family.sample(&labels, 1);
    let shards = process.shards().to_string();
    let driver = process.driver_name.get().copied().unwrap_or_default();
    let labels = [("version", VERSION), ("io_driver", driver), ("shards", &shards[..])];
    out.family("annulet_info", Kind::Gauge, "Facts about the server.").sample(&labels, 1);
}

/// Writes the fields of INFO that are one number each.
fn fields(info: &Info<'_>, out: &mut Exposition) {
    for name in NAMES {
        let Some(value) = info.field(name.field).and_then(|text| name.unit.number(text)) else {
            continue;
        };
        let help = format!("The field {} of INFO.", name.field);
        out.one(name.metric, name.kind, &help, value);
    }
}

impl Unit {
    /// Converts a field's value to the unit of its metric; `None` if it is no number.
    fn number(self, text: &str) -> Option<f64> {
        let number = match text {
            "ok" => 1.0,
            "err" => 0.0,
            number => number.parse().ok()?,
        };
        Some(match self {
            Unit::Same => number,
            Unit::Microseconds => number / 1e6,
        })
    }
}

fn settings(process: &Process, out: &mut Exposition) {
    let config = process.config.snapshot();
    let help = |name| format!("The setting {name}.");
    let (clients, memory) = (config.maxclients, config.maxmemory);
    out.one("redis_config_maxclients", Kind::Gauge, &help("maxclients"), clients);
    out.one("redis_config_maxmemory", Kind::Gauge, &help("maxmemory"), memory);
}

/// Writes the keys by database: databases that INFO shows, and the first ones even if they are
/// empty.
fn databases(process: &Process, info: &Info<'_>, out: &mut Exposition) {
    let count = (process.config.snapshot().database_count() as usize).min(DATABASES_EMPTY_MAX);
    let mut rows: Vec<(String, &str)> = (0..count).map(|db| (format!("db{db}"), "")).collect();
    for (name, parts) in info.section("Keyspace") {
        match rows.iter_mut().find(|(known, _)| known == name) {
            Some(row) => row.1 = parts,
            None => rows.push((name.to_owned(), parts)),
        }
    }
    let mut write = |metric, help, part, unit: f64| {
        let mut family = out.family(metric, Kind::Gauge, help);
        for (db, parts) in &rows {
            let number = info::part(parts, part).and_then(|text| text.parse::<f64>().ok());
            family.sample(&[("db", db)], number.unwrap_or(0.0) * unit);
        }
    };
    write("redis_db_keys", "Keys.", "keys", 1.0);
    write("redis_db_keys_expiring", "Keys with a time to live.", "expires", 1.0);
    write("redis_db_avg_ttl_seconds", "Average time to live.", "avg_ttl", 1e-3);
}

fn replicas(info: &Info<'_>, out: &mut Exposition) {
    let is_replica =
        |name: &str| name.strip_prefix("slave").is_some_and(|n| n.parse::<u32>().is_ok());
    let fields = info.section("Replication").filter(|(name, _)| is_replica(name));
    let replicas: Vec<&str> = fields.map(|(_, parts)| parts).collect();
    let mut write = |metric, help, part| {
        let mut family = out.family(metric, Kind::Gauge, help);
        for parts in &replicas {
            let value = |name| info::part(parts, name).unwrap_or_default();
            let labels = [("slave_ip", "ip"), ("slave_port", "port"), ("slave_state", "state")];
            let labels = labels.map(|(label, name)| (label, value(name)));
            family.sample(&labels, value(part).parse::<f64>().unwrap_or(0.0));
        }
    };
    write(
        "redis_connected_slave_offset_bytes",
        "The offset that the replica has acknowledged.",
        "offset",
    );
    write(
        "redis_connected_slave_lag_seconds",
        "Time since the replica's last acknowledgement.",
        "lag",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::process;
    use crate::observe::Stage;
    use std::collections::HashSet;

    fn busy_process() -> Process {
        let process = process();
        let get = usize::from(process.commands.find(b"get").expect("GET").index);
        for board in process.boards.iter() {
            board.counters.commands_processed.add(10);
            board.counters.keyspace_hits.add(3);
            board.gauges.clients.set(4);
            board.databases[3].keys.set(5);
            board.databases[3].volatile.set(1);
            board.commands[get].calls.add(2);
            board.commands[get].ns.add(3_000);
            board.commands[get].failed.add(1);
            board.latencies.record(get, 2_000, 2);
            board.stages.record(get, Stage::Inbox, 600);
            board.error_reply(b"WRONGTYPE Operation");
        }
        process.boards.events.add("command", 1_800_000_000, 120);
        process
    }

    #[test]
    fn dashboards_find_their_names() {
        let text = metrics(&busy_process());
        for line in [
            "redis_up 1",
            "redis_start_time_seconds 1800000000",
            "redis_uptime_in_seconds 0",
            "redis_connected_clients 8",
            "redis_blocked_clients 0",
            "redis_memory_max_bytes 0",
            "redis_commands_processed_total 20",
            "redis_keyspace_hits_total 6",
            "redis_evicted_keys_total 0",
            "redis_rdb_last_bgsave_status 1",
            "redis_rdb_last_bgsave_duration_sec -1",
            "redis_latest_fork_seconds 0",
            "redis_commands_total{cmd=\"get\"} 4",
            "redis_commands_failed_calls_total{cmd=\"get\"} 2",
            "redis_commands_duration_seconds_total{cmd=\"get\"} 0.000006",
            "redis_commands_latencies_usec_bucket{cmd=\"get\",le=\"2\"} 4",
            "redis_commands_latencies_usec_bucket{cmd=\"get\",le=\"+Inf\"} 4",
            "redis_commands_latencies_usec_count{cmd=\"get\"} 4",
            "redis_latency_percentiles_usec_count{cmd=\"get\"} 4",
            "redis_errors_total{err=\"WRONGTYPE\"} 2",
            "redis_db_keys{db=\"db0\"} 0",
            "redis_db_keys{db=\"db3\"} 10",
            "redis_db_keys_expiring{db=\"db3\"} 2",
            "redis_config_maxclients 10000",
            "redis_slowlog_length 0",
            "redis_commandlog_execution_slower_than 10000",
            "redis_latency_spike_duration_seconds{event_name=\"command\"} 0.12",
            "annulet_shard_keys{shard=\"1\"} 5",
            "annulet_stage_seconds_bucket{shard=\"1\",stage=\"inbox\",le=\"0.000000512\"} 0",
            "annulet_stage_seconds_bucket{shard=\"1\",stage=\"inbox\",le=\"0.000001024\"} 1",
            "annulet_stage_seconds_bucket{shard=\"1\",stage=\"inbox\",le=\"+Inf\"} 1",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}\n{text}");
        }
        assert!(text.contains("redis_latency_percentiles_usec{cmd=\"get\",quantile=\"0.99\"} 2"));
        assert!(text.contains("redis_instance_info{role=\"master\",redis_version=\"7.2.4\","));
        assert!(text.contains("redis_mode=\"standalone\""));
    }

    /// Checks what a scraper checks: each family is declared once, before its samples, which are
    /// adjacent; names and values are well-formed.
    #[test]
    fn the_text_is_an_exposition() {
        let text = metrics(&busy_process());
        let mut families = HashSet::new();
        let mut samples = HashSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(families.insert(family.clone()), "{line} comes twice");
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(rest.starts_with(&format!("{family} ")), "{line} follows {family}");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            assert!(samples.insert(name.to_owned()), "{line} comes twice");
            let bare = name.split('{').next().unwrap();
            let suffix = bare.strip_prefix(&family[..]).expect("it belongs to the family above");
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            assert!(bare.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
        }
        assert!(text.ends_with('\n'));
        assert!(families.len() > 80, "{}", families.len());
    }
}
