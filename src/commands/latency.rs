//! LATENCY: slow events by type and second, and the latency of each command.

mod doctor;
mod graph;
mod profile;

use super::help::{help_card, help_command};
use crate::exec::{Command, Entry, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

pub(super) static LATENCY: Command = Command::container(
    Card::new("latency", Group::Server, "2.8.13")
        .summary("A container for latency diagnostics commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&DOCTOR, &GRAPH, &HELP, &HISTOGRAM, &HISTORY, &LATEST, &profile::PROFILE, &RESET],
);

static DOCTOR: Command = Command::session(
    doctor,
    Card::new("doctor", Group::Server, "2.8.13")
        .summary("Returns a human-readable latency analysis report.")
        .constant_time()
        .arity(2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
);

fn doctor(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let events = cx.process.boards.events.all();
    let now_s = cx.now_us / 1_000_000;
    let report = doctor::report(&events, &cx.process.config.snapshot(), now_s);
    cx.reply.verbatim("txt", report.as_bytes());
    Ok(())
}

static GRAPH: Command = Command::session(
    graph,
    Card::new("graph", Group::Server, "2.8.13")
        .summary("Returns a latency graph for an event.")
        .constant_time()
        .arity(3)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[Arg::string("event")]),
);

fn graph(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let name = String::from_utf8_lossy(&args[2]);
    let series = cx.process.boards.events.series(&args[2]);
    let series = series
        .ok_or_else(|| Error::other(format!("ERR No samples available for event '{name}'")))?;
    let text = graph::draw(&name, &series, cx.now_us / 1_000_000);
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

static HELP: Command = help_command(help_card(Group::Server, "2.8.13"));

static HISTOGRAM: Command = Command::session(
    histogram,
    Card::new("histogram", Group::Server, "7.0.0")
        .summary("Returns the cumulative distribution of latencies of a subset or all commands.")
        .complexity(
            "O(N) where N is the number of commands with latency information being retrieved.",
        )
        .arity(-2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[Arg::string("command").optional().repeated()]),
);

/// The first bound of a histogram's buckets in nanoseconds; each further bound is twice the
/// previous one.
const FIRST_BOUND_NS: u64 = 1024;

fn histogram(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let table = cx.process.commands;
    let mut wanted: Vec<&Entry> = Vec::new();
    if args.len() == 2 {
        wanted.extend(table.walk());
    }
    for name in args.iter_from(2) {
        let is_it = |entry: &&Entry| entry.name.as_bytes().eq_ignore_ascii_case(name);
        if let Some(entry) = table.walk().find(is_it) {
            wanted.push(entry);
            wanted.extend(&entry.subcommands);
        }
    }
    let mark = cx.reply.mark();
    let mut shown = 0;
    for entry in wanted {
        let Some(histogram) = cx.process.boards.latencies(usize::from(entry.index)) else {
            continue;
        };
        shown += 1;
        cx.reply.bulk(entry.name.as_bytes());
        cx.reply.map(2);
        cx.reply.bulk(b"calls");
        cx.reply.integer(histogram.len() as i64);
        cx.reply.bulk(b"histogram_usec");
        let mut buckets = Vec::new();
        let (mut bound_ns, mut before) = (FIRST_BOUND_NS, 0);
        while before < histogram.len() {
            let high_ns = histogram.highest_equivalent(bound_ns);
            let count = histogram.count_between(0, high_ns);
            if count > before {
                buckets.push((high_ns / 1_000, count));
            }
            before = count;
            bound_ns *= 2;
        }
        cx.reply.map(buckets.len());
        for (us, count) in buckets {
            cx.reply.integer(us as i64);
            cx.reply.integer(count as i64);
        }
    }
    cx.reply.map_since(mark, shown);
    Ok(())
}

static HISTORY: Command = Command::session(
    history,
    Card::new("history", Group::Server, "2.8.13")
        .summary("Returns timestamp-latency samples for an event.")
        .constant_time()
        .arity(3)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[Arg::string("event")]),
);

fn history(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let series = cx.process.boards.events.series(&args[2]).unwrap_or_default();
    cx.reply.array(series.samples.len());
    for sample in series.samples {
        cx.reply.array(2);
        cx.reply.integer(sample.unix_s as i64);
        cx.reply.integer(sample.ms as i64);
    }
    Ok(())
}

static LATEST: Command = Command::session(
    latest,
    Card::new("latest", Group::Server, "2.8.13")
        .summary("Returns the latest latency samples for all events.")
        .constant_time()
        .arity(2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
);

fn latest(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let events = cx.process.boards.events.all();
    cx.reply.array(events.len());
    for (name, series) in events {
        let last = series.samples.last().expect("a series has samples");
        cx.reply.array(6);
        cx.reply.bulk(name.as_bytes());
        for number in [last.unix_s, last.ms, series.longest_ms, series.sum_ms, series.count] {
            cx.reply.integer(number as i64);
        }
    }
    Ok(())
}

static RESET: Command = Command::session(
    reset,
    Card::new("reset", Group::Server, "2.8.13")
        .summary("Resets the latency data for one or more events.")
        .constant_time()
        .arity(-2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
        .args(&[Arg::string("event").optional().repeated()]),
);

fn reset(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let events = &cx.process.boards.events;
    let count = match args.len() {
        2 => events.reset(None),
        _ => args.iter_from(2).map(|event| events.reset(Some(event))).sum(),
    };
    cx.reply.integer(count as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::{SessionBench, show};

    #[test]
    fn events_are_shown_and_reset() {
        let mut bench = SessionBench::new();
        let events = &bench.process.boards.events;
        for (unix_s, ms) in [(1_799_999_000, 20), (1_799_999_990, 300)] {
            events.add("command", unix_s, ms);
        }
        events.add("fast-command", 1_800_000_000, 7);
        bench.check_script(
            "
            LATENCY HISTORY command => [[:1799999000 :20] [:1799999990 :300]]
            LATENCY HISTORY none => []
            LATENCY LATEST => [[\"command\" :1799999990 :300 :300 :320 :2]
                | [\"fast-command\" :1800000000 :7 :7 :7 :1]]
            LATENCY GRAPH none => -ERR No samples available for event 'none'
            LATENCY RESET none => :0
            LATENCY RESET COMMAND none => :1
            LATENCY RESET => :1
            LATENCY LATEST => []
            ",
        );
    }

    #[test]
    fn histogram_bounds_are_equal_to_the_reference() {
        let mut bench = SessionBench::new();
        let get = usize::from(bench.process.commands.find(b"get").expect("GET").index);
        let id = bench.process.commands.find(b"client").expect("CLIENT").subcommand(b"id");
        let id = usize::from(id.expect("CLIENT ID").index);
        for (number, board) in bench.process.boards.iter().enumerate() {
            board.latencies.record(get, 500, 1);
            board.latencies.record(get, 40_000, 2);
            board.latencies.record(id, 3_000_000_000, number as u64);
        }
        bench.check_script(
            "
            LATENCY HISTOGRAM get nothing
                | => [\"get\" [\"calls\" :6 \"histogram_usec\" [:1 :2 :66 :6]]]
            LATENCY HISTOGRAM client|id CLIENT
                | => [\"client|id\" [\"calls\" :1 \"histogram_usec\" [:1082130 :1]]
                | \"client|id\" [\"calls\" :1 \"histogram_usec\" [:1082130 :1]]]
            LATENCY HISTOGRAM set => []
            ",
        );
        let all = show(&bench.run(&["LATENCY", "HISTOGRAM"]).expect("a reply"));
        assert!(all.contains("get") && all.contains("client|id"), "{all}");
    }
}
