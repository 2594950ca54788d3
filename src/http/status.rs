//! `/status.json`: the figures of the page. Counters start at the start or at CONFIG RESETSTAT; the
//! page computes rates from their differences.

use super::State;
use super::json::Json;
use super::limits::{COMMANDS_MAX, SLOT_RANGES_MAX, SLOW_COMMAND_BYTES_MAX, SLOW_ENTRIES_MAX};
use crate::base::slot_map::SlotSet;
use crate::base::{alloc, system};
use crate::config::VERSION;
use crate::exec::Process;
use crate::observe::{LogKind, LoggedArgs, STAGE_CLASSES, Stage, stage_class_bound_ns};

/// Returns the status as JSON. Sends no message to the shards.
pub(super) fn status(process: &Process) -> String {
    let mut json = Json::default();
    json.object("", |all| {
        server(process, all);
        all.object("totals", |totals| counters(process, totals));
        all.object("clients", |clients| people(process, clients));
        all.object("memory", |memory| bytes(process, memory));
        all.list("databases", |databases| keys(process, databases));
        all.list("commands", |commands| busiest(process, commands));
        all.list("slowlog", |slow| slowest(process, slow));
        all.list("shards", |shards| each_shard(process, shards));
        all.object("stages", |stages| each_stage(process, stages));
    });
    json.into_string()
}

fn server(process: &Process, json: &mut Json) {
    let config = process.config.snapshot();
    let now_ms = process.clock.unix_ms();
    json.text("version", VERSION);
    json.text("state", State::of(process).word());
    json.text("run_id", &process.run_id);
    json.text("driver", process.driver_name.get().copied().unwrap_or_default());
    json.number("port", config.port);
    json.number("pid", std::process::id());
    json.number("now_ms", now_ms);
    // The page divides by differences of this clock, because it is never adjusted.
    json.number("monotonic_us", process.clock.monotonic_ns() / 1_000);
    json.number("uptime_s", (now_ms / 1_000).saturating_sub(process.started_s));
    json.number("generation", process.boards.generation());
}

fn counters(process: &Process, json: &mut Json) {
    let totals = process.boards.totals();
    let (own, _) = system::cpu_times();
    for (name, value) in [
        ("commands", totals.commands_processed),
        ("connections", totals.connections_received),
        ("rejected", totals.connections_rejected),
        ("input_bytes", totals.net_input_bytes),
        ("output_bytes", totals.net_output_bytes),
        ("hits", totals.keyspace_hits),
        ("misses", totals.keyspace_misses),
        ("expired", totals.expired_lazy + totals.expired_active),
        ("errors", totals.error_replies),
        ("cpu_us", own.system_us + own.user_us),
    ] {
        json.number(name, value);
    }
}

fn people(process: &Process, json: &mut Json) {
    let gauges = process.boards.gauges();
    json.number("connected", gauges.clients.max(0));
    json.number("blocked", gauges.clients_blocked.max(0));
    let client_bytes = gauges.normal_client_bytes + gauges.replica_client_bytes;
    json.number("client_bytes", client_bytes.max(0));
    json.number("max", process.config.snapshot().maxclients);
    json.number("replicas", process.replication().replicas.len() as u64);
}

fn bytes(process: &Process, json: &mut Json) {
    let config = process.config.snapshot();
    let used = alloc::used_bytes();
    // If the sample fails, the figures are from the sample before.
    let _ = process.memory.sample(used);
    json.number("used_bytes", used);
    json.number("used_peak_bytes", process.memory.used_peak_bytes());
    json.number("resident_bytes", process.memory.resident_bytes());
    json.number("max_bytes", config.maxmemory);
    json.number("system_bytes", system::memory_bytes());
    json.text("policy", config.maxmemory_policy.word());
}

/// Writes the databases that are not empty.
fn keys(process: &Process, json: &mut Json) {
    for number in 0..process.config.snapshot().database_count() {
        let [keys, expiring, _] = process.boards.database(number as usize);
        if keys > 0 {
            json.object("", |database| {
                database.number("number", number);
                database.number("keys", keys);
                database.number("expiring", expiring);
            });
        }
    }
}

/// Writes the commands with the most calls.
fn busiest(process: &Process, json: &mut Json) {
    let entries = process.commands.walk();
    let stats = entries.map(|entry| (entry, process.boards.command(usize::from(entry.index))));
    let mut rows: Vec<_> = stats.filter(|(_, stats)| stats.calls > 0).collect();
    rows.sort_by_key(|(_, stats)| std::cmp::Reverse(stats.calls));
    for (entry, stats) in rows.into_iter().take(COMMANDS_MAX) {
        json.object("", |command| {
            command.text("name", &entry.name);
            command.number("calls", stats.calls);
            command.number("ns", stats.ns);
            command.number("failed", stats.failed);
            command.number("rejected", stats.rejected);
        });
    }
}

/// Writes the newest slow commands, as SLOWLOG GET shows them.
fn slowest(process: &Process, json: &mut Json) {
    let kept = process.config.snapshot().commandlog_slow_execution_max_len;
    for entry in process.boards.logged(LogKind::Slow, kept.min(SLOW_ENTRIES_MAX)) {
        json.object("", |slow| {
            slow.number("id", entry.id);
            slow.number("at_s", entry.unix_s);
            slow.number("us", entry.value);
            slow.text("client", &entry.address);
            slow.text("words", &line(&entry.args));
        });
    }
}

/// Formats the arguments of a command in one line; bytes that are no text become `\xHH`.
fn line(args: &LoggedArgs) -> String {
    let mut line = args.join(&b' ').escape_ascii().to_string();
    if line.len() > SLOW_COMMAND_BYTES_MAX {
        line.truncate(SLOW_COMMAND_BYTES_MAX);
        line.push_str(" ...");
    }
    line
}

/// Formats the first ranges of a set of slots.
fn ranges(slots: &SlotSet) -> String {
    let show = |(first, last)| match first == last {
        true => format!("{first}"),
        false => format!("{first}–{last}"),
    };
    let mut all = slots.ranges().map(show);
    let mut shown: Vec<String> = all.by_ref().take(SLOT_RANGES_MAX).collect();
    shown.extend(all.next().map(|_| "…".to_owned()));
    shown.join(", ")
}

fn each_shard(process: &Process, json: &mut Json) {
    let map = process.slot_map.snapshot();
    let generation = process.boards.generation();
    for (number, board) in process.boards.iter().enumerate() {
        let slots = map.slots(number);
        let keys: i64 = board.databases.iter().map(|database| database.keys.get()).sum();
        let (counters, gauges) = (&board.counters, &board.gauges);
        json.object("", |shard| {
            shard.text("ranges", &ranges(slots));
            shard.number("slots", slots.len());
            shard.number("keys", keys.max(0));
            shard.number("clients", gauges.clients.get().max(0));
            shard.number("inbox_depth", gauges.inbox_depth.get().max(0));
            shard.number("longest_turn_ns", board.turn_ns.recent(generation));
            for (name, counter) in [
                ("commands", &counters.commands_processed),
                ("turns", &counters.turns),
                ("parks", &counters.parks),
                ("batches_local", &counters.batches_local),
                ("batches_remote", &counters.batches_remote),
            ] {
                shard.number(name, counter.get());
            }
        });
    }
}

/// Writes the durations of traced requests by shard, stage and class.
fn each_stage(process: &Process, json: &mut Json) {
    json.number("interval", process.config.snapshot().latency_profile_interval);
    json.list("names", |names| Stage::ALL.iter().for_each(|stage| names.text("", stage.name())));
    let bounds: Vec<u64> = (0..STAGE_CLASSES).map(stage_class_bound_ns).collect();
    json.numbers("bounds_ns", &bounds);
    json.list("counts", |shards| {
        for board in process.boards.iter() {
            let classes = board.stages.classes();
            shards.list("", |rows| classes.iter().for_each(|row| rows.numbers("", row)));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::process;
    use crate::observe::LogEntry;

    #[test]
    fn the_status_has_all_figures_of_the_page() {
        let process = process();
        let get = usize::from(process.commands.find(b"get").expect("GET").index);
        for board in process.boards.iter() {
            board.counters.commands_processed.add(10);
            board.commands[get].calls.add(10);
            board.commands[get].ns.add(10_000);
            board.stages.record(get, Stage::Execute, 1_500);
            board.databases[2].keys.set(5);
            board.gauges.clients.set(3);
        }
        let entry = LogEntry {
            id: 0,
            unix_s: 1_800_000_000,
            value: 20_000,
            args: [&b"set"[..], b"key\n", &[b'x'; 200]].map(Box::from).to_vec(),
            address: "127.0.0.1:40000".to_owned(),
            name: Vec::new(),
        };
        process.boards.log(0, LogKind::Slow, entry, 10);
        let text = status(&process);
        let status: serde_json::Value = serde_json::from_str(&text).expect(&text);
        assert_eq!(status["state"], "serving");
        assert_eq!(status["totals"]["commands"], 20);
        assert_eq!(status["clients"]["connected"], 6);
        assert_eq!(status["databases"][0]["keys"], 10);
        assert_eq!(status["commands"][0]["name"], "get");
        assert_eq!(status["shards"][1]["ranges"], "8192–16383");
        assert_eq!(status["shards"][1]["slots"], 8192);
        assert_eq!(status["slowlog"][0]["us"], 20_000);
        let words = status["slowlog"][0]["words"].as_str().unwrap();
        assert!(words.starts_with("set key\\n xxx") && words.ends_with("x ..."), "{words}");
        let stages = &status["stages"];
        let names: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        assert_eq!(stages["names"], serde_json::json!(names));
        let counts = &stages["counts"][1][Stage::Execute as usize];
        let bounds = stages["bounds_ns"].as_array().unwrap();
        assert_eq!(counts.as_array().unwrap().len(), bounds.len());
        let place = bounds.iter().position(|bound| bound.as_u64().unwrap() > 1_500).unwrap();
        assert_eq!(counts[place], 1);
        assert_eq!(stages["counts"][0][Stage::Send as usize][place], 0);
    }
}
