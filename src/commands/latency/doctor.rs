//! LATENCY DOCTOR: a report on the slow events, with advice.

use crate::config::Config;
use crate::observe::EventSeries;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Returns the report on these events.
pub(super) fn report(
    events: &BTreeMap<&'static str, EventSeries>,
    config: &Config,
    now_s: u64,
) -> String {
    let threshold_ms = config.latency_monitor_threshold;
    if events.is_empty() && threshold_ms == 0 {
        return "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Valkey \
                instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in \
                order to enable it.\n"
            .to_string();
    }
    if events.is_empty() {
        return "No latency spike was observed during the lifetime of this Valkey instance, not \
                in the slightest bit.\n"
            .to_string();
    }
    let mut text = "Latency spikes are observed in this Valkey instance.\n\n".to_string();
    for (number, (name, series)) in events.iter().enumerate() {
        write_event(&mut text, number + 1, name, series, now_s);
    }
    text.push_str("\nHere is some advice for you:\n\n");
    for line in advice(events, config) {
        writeln!(text, "- {line}").expect("writing to a string does not fail");
    }
    text
}

fn write_event(text: &mut String, number: usize, name: &str, series: &EventSeries, now_s: u64) {
    let count = series.samples.len().max(1) as u64;
    let sum: u64 = series.samples.iter().map(|sample| sample.ms).sum();
    let average = sum / count;
    let deviation = series.samples.iter().map(|sample| sample.ms.abs_diff(average)).sum::<u64>();
    let first_s = series.samples.iter().map(|sample| sample.unix_s).min().unwrap_or(now_s);
    let period_s = now_s.saturating_sub(first_s).max(1) as f64 / count as f64;
    writeln!(
        text,
        "{number}. {name}: {count} latency spikes (average {average}ms, mean deviation {}ms, \
         period {period_s:.2} sec). Worst all time event {}ms.",
        deviation / count,
        series.longest_ms
    )
    .expect("writing to a string does not fail");
}

/// Returns advice on the events, without repetitions.
fn advice(events: &BTreeMap<&'static str, EventSeries>, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let threshold_ms = config.latency_monitor_threshold;
    if events.contains_key("command") {
        let slow_us = config.commandlog_execution_slower_than;
        if slow_us < 0 || config.commandlog_slow_execution_max_len == 0 {
            lines.push(format!(
                "The slow log is off, so nothing tells which commands took so long. 'CONFIG SET \
                 slowlog-log-slower-than {}' turns it on.",
                threshold_ms.saturating_mul(1_000)
            ));
        } else if slow_us as u64 / 1_000 > threshold_ms {
            lines.push(format!(
                "The slow log leaves out commands that are counted here. 'CONFIG SET \
                 slowlog-log-slower-than {}' lets it show them.",
                threshold_ms.saturating_mul(1_000)
            ));
        }
        lines.push("Look into the slow log (SLOWLOG GET) for the commands that took long.".into());
    }
    if events.contains_key("fast-command") {
        lines.push(
            "Commands that are always fast took long: the threads did not get their cores, or \
             memory was not there at once. Look for other work on this machine, for a busy \
             neighbour of a virtual machine, for more shards than cores, and for swapping; \
             'valkey-cli --intrinsic-latency 100' shows what the machine itself adds."
                .into(),
        );
    }
    if events.contains_key("expire-cycle") || events.contains_key("eviction-cycle") {
        lines.push(
            "Removing keys took long: large values may be better cut into several, or freed in \
             steps (the settings lazyfree-*)."
                .into(),
        );
    }
    if lines.is_empty() {
        lines
            .push("INFO and SLOWLOG GET, taken while it happens, are what to look at next.".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LatencyEvents;

    #[test]
    fn a_report_has_its_events_and_advice() {
        let events = LatencyEvents::default();
        let mut config = Config::default();
        assert!(report(&events.all(), &config, 100).starts_with("I'm sorry, Dave"));
        config.latency_monitor_threshold = 1;
        assert!(report(&events.all(), &config, 100).starts_with("No latency spike"));
        for (unix_s, ms) in [(10, 100), (20, 200)] {
            events.add("command", unix_s, ms);
        }
        let text = report(&events.all(), &config, 100);
        let line = "1. command: 2 latency spikes (average 150ms, mean deviation 50ms, period \
                    45.00 sec). Worst all time event 200ms.\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("slowlog-log-slower-than 1000"), "{text}");
        config.latency_monitor_threshold = i64::MAX as u64;
        config.commandlog_execution_slower_than = -1;
        assert!(report(&events.all(), &config, 100).contains("turns it on"));
    }
}
