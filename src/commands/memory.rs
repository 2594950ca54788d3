//! MEMORY: memory usage of keys and of the process.

mod doctor;

use super::footprint::{ALLOCATOR, DatabaseOverhead, Footprint, percent};
use super::help::{help_card, help_command};
use crate::base::number::parse_i64;
use crate::exec::{Command, Context, Request, SessionContext, Weighing, option_count};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group, KeySpec};

pub(super) static MEMORY: Command = Command::container(
    Card::new("memory", Group::Server, "4.0.0")
        .summary("A container for memory diagnostics commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&DOCTOR, &HELP, &MALLOC_STATS, &PURGE, &STATS, &USAGE],
);

static USAGE: Command = Command::single(
    usage,
    Card::new("usage", Group::Server, "4.0.0")
        .summary("Estimates the memory usage of a key.")
        .complexity("O(N) where N is the number of samples.")
        .arity(-3)
        .flags(Flag::READONLY)
        .keys(&[KeySpec::inspects().at(2)])
        .args(&[Arg::key("key"), Arg::integer("count").after("SAMPLES").optional()]),
)
.offload_by(weigh_usage);

/// Default number of elements that MEMORY USAGE samples.
const SAMPLES: usize = 5;

fn weigh_usage(weighing: &Weighing<'_>, args: &Args<'_>) -> usize {
    let samples = option_count(args, 3, b"SAMPLES").unwrap_or(SAMPLES);
    let len = weighing.len(args, 2);
    if samples == 0 { len } else { samples.min(len) }
}

/// Replies with the bytes of the key's entry, including its value.
fn usage(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut samples = SAMPLES;
    for at in (3..args.len()).step_by(2) {
        match args.get(at + 1) {
            Some(count) if args[at].eq_ignore_ascii_case(b"samples") => {
                let count = parse_i64(count).ok_or(Error::NotInteger)?;
                samples = usize::try_from(count).map_err(|_| Error::Syntax)?;
            }
            _ => return Err(Error::Syntax),
        }
    }
    let key = cx.key(args, 2);
    match cx.slice.peek(cx.db, &key).map(|view| view.memory_bytes(samples)) {
        Some(bytes) => cx.reply.integer(bytes as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

static DOCTOR: Command = Command::session(
    doctor,
    Card::new("doctor", Group::Server, "4.0.0")
        .summary("Outputs a memory problems report.")
        .constant_time()
        .arity(2)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
);

fn doctor(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let counts = doctor::Counts {
        clients: cx.process.boards.gauges().clients.max(1) as u64,
        replicas: cx.process.replication().replicas.len() as u64,
        scripts: cx.process.scripts.len(),
    };
    let report = doctor::report(&Footprint::now(cx.process), counts);
    cx.reply.verbatim("txt", report.as_bytes());
    Ok(())
}

static MALLOC_STATS: Command = Command::session(
    malloc_stats,
    Card::new("malloc-stats", Group::Server, "4.0.0")
        .summary("Returns the allocator statistics.")
        .complexity("Depends on how much memory is allocated, could be slow")
        .arity(2)
        .flags(Flag::LOADING)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
);

/// Replies with the process's memory figures. The allocator keeps no statistics in this build.
fn malloc_stats(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let at = Footprint::now(cx.process);
    let text = format!(
        "___ Begin {ALLOCATOR} statistics ___\nAllocated: {}, active: {}, resident: {}, \
         peak allocated: {}\n--- End {ALLOCATOR} statistics ---\n",
        at.used, at.committed, at.resident, at.used_peak
    );
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

static PURGE: Command = Command::session(
    purge,
    Card::new("purge", Group::Server, "4.0.0")
        .summary("Asks the allocator to release memory.")
        .complexity("Depends on how much memory is allocated, could be slow")
        .arity(2)
        .flags(Flag::LOADING)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
)
.asks_shards();

/// Requests a purge on every shard, because a thread can release only memory that it freed itself.
fn purge(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::PurgeMemory);
    Ok(())
}

static STATS: Command = Command::session(
    stats,
    Card::new("stats", Group::Server, "4.0.0")
        .summary("Returns details about memory usage.")
        .constant_time()
        .arity(2)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
);

/// Value of one line of MEMORY STATS.
enum Figure {
    Whole(u64),
    Difference(i64),
    Ratio(f64),
}

fn stats(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    use Figure::{Difference, Ratio, Whole};
    let at = Footprint::now(cx.process);
    let ratio = |more: u64, less: u64| Ratio(percent(more, less) / 100.0);
    let difference = |more: u64, less: u64| Difference(more as i64 - less as i64);
    let first = [
        ("peak.allocated", Whole(at.used_peak)),
        ("total.allocated", Whole(at.used)),
        ("startup.allocated", Whole(at.at_start)),
        ("replication.backlog", Whole(at.backlog)),
        ("replicas.repl.buffer", Whole(0)),
        ("clients.slaves", Whole(at.replica_clients)),
        ("clients.normal", Whole(at.clients)),
        ("cluster.links", Whole(0)),
        ("cluster.slot_import", Whole(0)),
        ("cluster.slot_export", Whole(0)),
        ("aof.buffer", Whole(at.aof_buffer)),
        ("lua.caches", Whole(at.scripts.scripts)),
        ("functions.caches", Whole(at.scripts.functions + at.scripts.vm())),
    ];
    let second = [
        ("overhead.db.hashtable.lut", Whole(at.tables)),
        ("overhead.db.hashtable.rehashing", Whole(0)),
        ("overhead.total", Whole(at.overhead())),
        ("db.dict.rehashing.count", Whole(0)),
        ("keys.count", Whole(at.keys)),
        ("keys.bytes-per-key", Whole(at.dataset().checked_div(at.keys).unwrap_or(0))),
        ("dataset.bytes", Whole(at.dataset())),
        ("dataset.percentage", Ratio(at.dataset_percent())),
        ("peak.percentage", Ratio(percent(at.used, at.used_peak))),
        ("allocator.allocated", Whole(at.used)),
        ("allocator.active", Whole(at.committed)),
        ("allocator.resident", Whole(at.resident)),
        ("allocator.muzzy", Whole(0)),
        ("allocator-fragmentation.ratio", ratio(at.committed, at.used)),
        ("allocator-fragmentation.bytes", difference(at.committed, at.used)),
        ("allocator-rss.ratio", ratio(at.resident, at.committed)),
        ("allocator-rss.bytes", difference(at.resident, at.committed)),
        ("rss-overhead.ratio", Ratio(1.0)),
        ("rss-overhead.bytes", Whole(0)),
        ("fragmentation", ratio(at.resident, at.used)),
        ("fragmentation.bytes", difference(at.resident, at.used)),
    ];
    let overheads = (0..cx.process.databases).map(|db| DatabaseOverhead::now(cx.process, db));
    // Database 0 always exists in the reference server.
    let used: Vec<_> = overheads.enumerate().filter(|(db, it)| *db == 0 || it.is_used()).collect();
    cx.reply.map(first.len() + used.len() + second.len());
    first.into_iter().for_each(|(name, figure)| write_figure(cx, name, figure));
    for (db, overhead) in used {
        cx.reply.bulk(format!("db.{db}").as_bytes());
        cx.reply.map(2);
        write_figure(cx, "overhead.hashtable.main", Whole(overhead.main));
        write_figure(cx, "overhead.hashtable.expires", Whole(overhead.expires));
    }
    second.into_iter().for_each(|(name, figure)| write_figure(cx, name, figure));
    Ok(())
}

fn write_figure(cx: &mut SessionContext<'_>, name: &str, figure: Figure) {
    cx.reply.bulk(name.as_bytes());
    match figure {
        Figure::Whole(number) => cx.reply.integer(number as i64),
        Figure::Difference(number) => cx.reply.integer(number),
        Figure::Ratio(ratio) => cx.reply.double(ratio),
    }
}

static HELP: Command = help_command(help_card(Group::Server, "4.0.0"));

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::{SessionBench, show};
    use crate::commands::testing::{Bench, check_script};
    use crate::resp::Value;

    #[test]
    fn options() {
        check_script(
            "
            MEMORY USAGE none => nil
            MEMORY USAGE none SAMPLES 0 samples 9 => nil
            MEMORY USAGE none SAMPLES -1 => -ERR syntax error
            MEMORY USAGE none SAMPLES x => -ERR value is not an integer or out of range
            MEMORY USAGE none SAMPLES => -ERR syntax error
            MEMORY USAGE none FOO 1 => -ERR syntax error
            ",
        );
    }

    #[test]
    fn subcommands_about_the_process() {
        let mut bench = SessionBench::new();
        let shown = show(&bench.run(&["MEMORY", "STATS"]).expect("a reply"));
        assert!(shown.starts_with("[\"peak.allocated\" :"), "{shown}");
        assert!(shown.contains("\"keys.bytes-per-key\" :0 "), "{shown}");
        assert!(shown.contains("\"db.0\" [\"overhead.hashtable.main\" :0 "), "{shown}");
        let shown = show(&bench.run(&["MEMORY", "MALLOC-STATS"]).expect("a reply"));
        assert!(shown.len() > 100, "{shown}");
        assert!(show(&bench.run(&["MEMORY", "DOCTOR"]).expect("a reply")).contains("Sam"));
        bench.check_script("MEMORY PURGE => ?PurgeMemory");
    }

    #[test]
    fn usage_is_little_more_than_the_bytes_of_the_value() {
        let mut bench = Bench::new();
        for len in [1, 100, 33_000, 100_000] {
            bench.run(&["SET", "key", &"A".repeat(len)]);
            let usage = bench.run(&["MEMORY", "USAGE", "key"]);
            let Value::Integer(bytes) = usage else { panic!("{usage:?}") };
            let bytes = bytes as usize;
            assert!(len + 3 <= bytes && bytes <= len + len / 4 + 32, "{len}: {bytes}");
        }
    }
}
