//! LATENCY PROFILE: how long requests stay in each stage of their processing. The reference has no
//! such command.

use crate::exec::{Command, Entry, Process, SessionContext};
use crate::observe::Stage;
use crate::resp::{Args, Error};
use crate::spec::{Card, Flag, Group};
use hdrhistogram::Histogram;
use std::fmt::Write;

/// Number of commands that are shown if the arguments name none: the ones that took the most time.
const COMMANDS_MAX: usize = 16;

pub(super) static PROFILE: Command = Command::session(
    profile,
    Card::new("profile", Group::Server, "9.1.0")
        .summary("Returns how long requests stay in each stage of their way through the server.")
        .complexity(
            "O(N) where N is the number of commands with latency information being retrieved.",
        )
        .arity(-2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["nondeterministic_output"]),
);

/// `LATENCY PROFILE [command ...] [BY SHARD]`, or `LATENCY PROFILE RESET`.
fn profile(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let is = |at: usize, name: &str| args[at].eq_ignore_ascii_case(name.as_bytes());
    let mut end = args.len();
    if end == 3 && is(2, "RESET") {
        cx.process.boards.reset_stages();
        cx.reply.ok();
        return Ok(());
    }
    let by_shard = end >= 4 && is(end - 2, "BY") && is(end - 1, "SHARD");
    if by_shard {
        end -= 2;
    }
    let mut named = Vec::new();
    for at in 2..end {
        let name = String::from_utf8_lossy(&args[at]).to_ascii_lowercase();
        let entry = cx.process.commands.walk().find(|entry| entry.name == name);
        named.push(entry.ok_or(Error::Syntax)?);
    }
    let text = text(cx.process, &named, by_shard);
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The stages of one command, on one shard or on all.
struct Row<'a> {
    entry: &'a Entry,
    shard: Option<usize>,
    stages: Box<[Histogram<u64>; Stage::ALL.len()]>,
}

/// Returns the total time in a stage, in nanoseconds.
fn total_ns(histogram: &Histogram<u64>) -> f64 {
    histogram.mean() * histogram.len() as f64
}

impl Row<'_> {
    fn total_ns(&self) -> f64 {
        self.stages.iter().map(total_ns).sum()
    }

    fn write(&self, text: &mut String) {
        let total = self.total_ns();
        let shard = self.shard.map_or("all".to_string(), |shard| shard.to_string());
        for (stage, histogram) in Stage::ALL.iter().zip(self.stages.iter()) {
            if histogram.is_empty() {
                continue;
            }
            let micros = |ns: u64| format!("{:.1}", ns as f64 / 1_000.0);
            let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
            let share = 100.0 * total_ns(histogram) / total;
            writeln!(
                text,
                "{:16} {:>5}  {:8} {:>8} {:>6.1}% {:>9} {:>9} {:>9} {:>9} {:>9}",
                self.entry.name,
                shard,
                stage.name(),
                histogram.len(),
                share,
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                micros(histogram.max()),
            )
            .expect("writing to a string does not fail");
        }
    }
}

fn text(process: &Process, named: &[&Entry], by_shard: bool) -> String {
    let rows = rows(process, named, by_shard);
    let interval = process.config.snapshot().latency_profile_interval;
    let mut text = match interval {
        0 => "No request is traced: latency-profile-interval is 0.\n".to_string(),
        _ => format!("One request of one batch in {interval} is traced. Times in microseconds.\n"),
    };
    if rows.is_empty() {
        text.push_str("None has been traced yet.\n");
        return text;
    }
    writeln!(
        text,
        "{:16} {:>5}  {:8} {:>8} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "command", "shard", "stage", "samples", "time", "p50", "p90", "p99", "p99.9", "max"
    )
    .expect("writing to a string does not fail");
    rows.iter().for_each(|row| row.write(&mut text));
    text.push_str(&verdict(&rows));
    text
}

fn rows<'a>(process: &'a Process, named: &[&'a Entry], by_shard: bool) -> Vec<Row<'a>> {
    let boards = &process.boards;
    let mut all: Vec<Row<'_>> = process
        .commands
        .walk()
        .filter(|entry| named.is_empty() || named.iter().any(|known| known.index == entry.index))
        .filter_map(|entry| {
            let stages = boards.stages(usize::from(entry.index), None)?;
            Some(Row { entry, shard: None, stages })
        })
        .collect();
    all.sort_by(|one, other| other.total_ns().total_cmp(&one.total_ns()));
    if named.is_empty() {
        all.truncate(COMMANDS_MAX);
    }
    if !by_shard {
        return all;
    }
    let on = |entry: &'a Entry, shard: usize| {
        let stages = boards.stages(usize::from(entry.index), Some(shard))?;
        Some(Row { entry, shard: Some(shard), stages })
    };
    let shards = 0..process.shards();
    all.iter().flat_map(|row| shards.clone().filter_map(|shard| on(row.entry, shard))).collect()
}

/// Returns a line that names the stage with the most time.
fn verdict(rows: &[Row<'_>]) -> String {
    let stages = rows.iter().flat_map(|row| {
        Stage::ALL.iter().zip(row.stages.iter()).map(move |(stage, stays)| (row, stage, stays))
    });
    let slowest = stages.max_by(|one, other| total_ns(one.2).total_cmp(&total_ns(other.2)));
    let (row, stage, stays) = slowest.expect("there are rows");
    let all: f64 = rows.iter().map(Row::total_ns).sum();
    let shard = row.shard.map_or(String::new(), |shard| format!(" on shard {shard}"));
    format!(
        "Slowest stage: {} of {}{shard}, with {:.1}% of the traced time and a p99 of {:.1} us.\n",
        stage.name(),
        row.entry.name,
        100.0 * total_ns(stays) / all,
        stays.value_at_quantile(0.99) as f64 / 1_000.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::{SessionBench, show};

    fn ask(bench: &mut SessionBench, args: &[&str]) -> String {
        show(&bench.run(args).expect("a reply"))
    }

    #[test]
    fn the_slowest_stage_is_named() {
        let mut bench = SessionBench::new();
        let none = ask(&mut bench, &["LATENCY", "PROFILE"]);
        assert!(none.contains("None has been traced yet"), "{none}");
        let index = usize::from(bench.process.commands.find(b"get").expect("it exists").index);
        let stages = &bench.process.boards.board(0).stages;
        for _ in 0..99 {
            stages.record(index, Stage::Parse, 2_000);
            stages.record(index, Stage::Send, 9_000);
        }
        let text = ask(&mut bench, &["LATENCY", "PROFILE"]);
        assert!(text.contains("Slowest stage: send of get, with 8"), "{text}");
        assert!(text.contains("parse") && !text.contains("inbox"), "{text}");
        let text = ask(&mut bench, &["latency", "profile", "GET", "by", "shard"]);
        assert!(text.contains("Slowest stage: send of get on shard 0"), "{text}");
        let none = ask(&mut bench, &["LATENCY", "PROFILE", "config|get"]);
        assert!(none.contains("None has been traced yet"), "{none}");
        assert_eq!(ask(&mut bench, &["LATENCY", "PROFILE", "nothere"]), "-ERR syntax error");
        assert_eq!(ask(&mut bench, &["LATENCY", "PROFILE", "RESET"]), "OK");
        let none = ask(&mut bench, &["LATENCY", "PROFILE"]);
        assert!(none.contains("None has been traced yet"), "{none}");
    }
}
