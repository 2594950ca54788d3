//! Metrics of the command logs and the latency events.

use super::exposition::{Exposition, Kind};
use crate::exec::Process;
use crate::observe::{EventSample, LogKind};

/// Writes the lengths of the command logs, and their settings.
pub(super) fn commands(process: &Process, out: &mut Exposition) {
    let config = process.config.snapshot();
    let len = |kind, max| process.boards.logged_len(kind, max);
    let slow_max = config.commandlog_slow_execution_max_len;
    let slow = len(LogKind::Slow, slow_max);
    let newest = process.boards.logged(LogKind::Slow, slow_max.min(1)).pop();
    let (last_id, last_us) = newest.map_or((0, 0), |entry| (entry.id, entry.value));
    let mut write = |name, help, value| out.one(name, Kind::Gauge, help, value);
    write("redis_slowlog_length", "Slow commands in the log.", slow as f64);
    write("redis_slowlog_last_id", "The number of the newest slow command.", last_id as f64);
    let name = "redis_last_slow_execution_duration_seconds";
    write(name, "The duration of the newest slow command.", last_us as f64 / 1e6);
    write("redis_commandlog_slow_length", "Slow commands in the log.", slow as f64);
    let (request_max, reply_max) =
        (config.commandlog_large_request_max_len, config.commandlog_large_reply_max_len);
    for (name, kind, max) in [
        ("redis_commandlog_large_request_length", LogKind::LargeRequest, request_max),
        ("redis_commandlog_large_reply_length", LogKind::LargeReply, reply_max),
    ] {
        write(name, "Large commands in the log.", len(kind, max) as f64);
    }
    for (name, value) in [
        ("redis_commandlog_execution_slower_than", config.commandlog_execution_slower_than),
        ("redis_commandlog_request_larger_than", config.commandlog_request_larger_than),
        ("redis_commandlog_reply_larger_than", config.commandlog_reply_larger_than),
        ("redis_commandlog_slow_execution_max_len", slow_max as i64),
        ("redis_commandlog_large_request_max_len", request_max as i64),
        ("redis_commandlog_large_reply_max_len", reply_max as i64),
    ] {
        write(name, "The value of the setting.", value as f64);
    }
}

/// Writes the last occurrence of each latency event.
pub(super) fn events(process: &Process, out: &mut Exposition) {
    let events = process.boards.events.all();
    let last: Vec<(&str, EventSample)> =
        events.iter().filter_map(|(name, series)| Some((*name, *series.samples.last()?))).collect();
    let help = "Unix time of the last occurrence, seconds.";
    let mut family = out.family("redis_latency_spike_last", Kind::Gauge, help);
    for (name, sample) in &last {
        family.sample(&[("event_name", name)], sample.unix_s);
    }
    let name = "redis_latency_spike_duration_seconds";
    let mut family = out.family(name, Kind::Gauge, "Duration of the last occurrence.");
    for (name, sample) in &last {
        family.sample(&[("event_name", name)], sample.ms as f64 / 1e3);
    }
}
