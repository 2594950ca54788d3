//! Metrics by command, and by error.

use super::exposition::{Exposition, Kind};
use super::info::{Info, part};
use crate::exec::Process;

/// Upper bounds of the latency histograms: powers of two from a microsecond to a second.
const BUCKETS: u32 = 21;

/// Writes INFO's figures of each command, with redis_exporter's names.
pub(super) fn commands(process: &Process, info: &Info<'_>, out: &mut Exposition) {
    let rows = prefixed(info, "Commandstats", "cmdstat_");
    let mut write = |metric, help, name, unit: f64| {
        let mut family = out.family(metric, Kind::Counter, help);
        for (command, parts) in &rows {
            family.sample(&[("cmd", command)], number(parts, name) * unit);
        }
    };
    write("redis_commands_total", "Runs.", "calls", 1.0);
    let name = "redis_commands_duration_seconds_total";
    write(name, "Time in the command.", "usec", 1e-6);
    let name = "redis_commands_rejected_calls_total";
    write(name, "Calls refused before they ran.", "rejected_calls", 1.0);
    write(
        "redis_commands_failed_calls_total",
        "Calls that ended in an error.",
        "failed_calls",
        1.0,
    );
    percentiles(info, &rows, out);
    histograms(process, &rows, out);
    let mut family = out.family("redis_errors_total", Kind::Counter, "Error replies.");
    for (word, parts) in prefixed(info, "Errorstats", "errorstat_") {
        family.sample(&[("err", word)], number(parts, "count"));
    }
}

/// Returns the fields of a section whose names begin with `prefix`, without it.
fn prefixed<'a>(info: &Info<'a>, title: &str, prefix: &str) -> Vec<(&'a str, &'a str)> {
    let fields = info.section(title);
    fields.filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value))).collect()
}

fn number(parts: &str, name: &str) -> f64 {
    part(parts, name).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// Writes the percentiles that `latency-tracking-info-percentiles` names.
fn percentiles(info: &Info<'_>, rows: &[(&str, &str)], out: &mut Exposition) {
    let name = "redis_latency_percentiles_usec";
    let mut family = out.family(name, Kind::Summary, "Latency, microseconds.");
    for (command, parts) in prefixed(info, "Latencystats", "latency_percentiles_usec_") {
        for (percentile, us) in parts.split(',').filter_map(|part| part.split_once('=')) {
            let percentile: f64 = percentile.trim_start_matches('p').parse().unwrap_or(100.0);
            // Rounded, so that 99.9 / 100 shows no error of the division.
            let quantile = ((percentile * 1e6).round() / 1e8).to_string();
            family.sample(&[("cmd", command), ("quantile", &quantile)], us);
        }
        let stats = rows.iter().find(|(known, _)| *known == command).map_or("", |row| row.1);
        family.part("_sum", &[("cmd", command)], number(stats, "usec"));
        family.part("_count", &[("cmd", command)], number(stats, "calls"));
    }
}

fn histograms(process: &Process, rows: &[(&str, &str)], out: &mut Exposition) {
    let help = "Latency, microseconds; see LATENCY HISTOGRAM.";
    let mut family = out.family("redis_commands_latencies_usec", Kind::Histogram, help);
    if !process.config.snapshot().latency_tracking {
        return;
    }
    for entry in process.commands.walk() {
        let Some(histogram) = process.boards.latencies(usize::from(entry.index)) else { continue };
        let name = &entry.name[..];
        let mut counts = [0; BUCKETS as usize + 1];
        for step in histogram.iter_recorded() {
            // The exponent of the first bound that is not below the value.
            let ns = histogram.lowest_equivalent(step.value_iterated_to());
            let us = ns.div_ceil(1_000);
            let bucket = us.next_power_of_two().trailing_zeros().min(BUCKETS);
            counts[bucket as usize] += step.count_at_value();
        }
        let mut sum = 0;
        for (bucket, count) in counts[..BUCKETS as usize].iter().enumerate() {
            sum += count;
            let bound = (1u64 << bucket).to_string();
            family.part("_bucket", &[("cmd", name), ("le", &bound)], sum);
        }
        family.part("_bucket", &[("cmd", name), ("le", "+Inf")], histogram.len());
        let stats = rows.iter().find(|(known, _)| *known == name).map_or("", |row| row.1);
        family.part("_sum", &[("cmd", name)], number(stats, "usec"));
        family.part("_count", &[("cmd", name)], histogram.len());
    }
}
