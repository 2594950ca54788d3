//! INFO: properties and statistics of the process, read from the boards of all shards without
//! interrupting any shard.

mod replication;
mod sections;
mod shards;
mod stats;
mod text;

use crate::exec::{Command, Process, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Flag, Group};
use text::Text;

pub(super) static INFO: Command = Command::session(
    info,
    Card::new("info", Group::Server, "1.0.0")
        .summary("Returns information and statistics about the server.")
        .constant_time()
        .arity(-1)
        .flags(Flag::LOADING.and(Flag::STALE))
        .categories(&[Category::Dangerous])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .history(&[("7.0.0", "Added support for taking multiple section arguments.")])
        .args(&[Arg::string("section").optional().repeated()]),
);

fn info(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let view = View { process: cx.process, now_us: cx.now_us };
    let mut text = Text::default();
    for section in SECTIONS {
        if is_wanted(section, args) {
            text.section(section.title);
            (section.write)(&view, &mut text);
        }
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Returns the text of INFO, with all sections or only the default ones, for other presentations of
/// it. `now_us` is Unix time in microseconds.
pub fn info_text(process: &Process, now_us: u64, is_whole: bool) -> String {
    let view = View { process, now_us };
    let mut text = Text::default();
    for section in SECTIONS.iter().filter(|section| is_whole || section.by_default) {
        text.section(section.title);
        (section.write)(&view, &mut text);
    }
    text.into_string()
}

/// The data that a section is written from.
struct View<'a> {
    process: &'a Process,
    /// Unix time in microseconds.
    now_us: u64,
}

/// A section of INFO.
struct Section {
    /// The heading. It is also the section's name as an argument of INFO, in upper or lower case.
    title: &'static str,
    /// Another name of the section, or empty.
    alias: &'static str,
    /// Whether INFO without arguments shows the section.
    by_default: bool,
    /// Whether only its own name selects the section, and `all` and `everything` do not.
    by_name_only: bool,
    write: fn(&View<'_>, &mut Text),
}

/// Returns a section that is shown by default.
const fn usual(title: &'static str, write: fn(&View<'_>, &mut Text)) -> Section {
    Section { title, alias: "", by_default: true, by_name_only: false, write }
}

/// Returns a section that is only shown on request.
const fn detail(title: &'static str, write: fn(&View<'_>, &mut Text)) -> Section {
    Section { title, alias: "", by_default: false, by_name_only: false, write }
}

/// All sections, in the order in which they are shown.
static SECTIONS: &[Section] = &[
    usual("Server", sections::server),
    detail("TLS", sections::tls),
    usual("Clients", sections::clients),
    usual("Memory", sections::memory),
    usual("Persistence", sections::persistence),
    usual("Stats", stats::stats),
    usual("Replication", replication::replication),
    usual("CPU", sections::cpu),
    Section { alias: "module_list", ..usual("Modules", sections::modules) },
    detail("Commandstats", stats::commandstats),
    usual("Errorstats", stats::errorstats),
    detail("Latencystats", stats::latencystats),
    usual("Cluster", sections::cluster),
    Section { alias: "cluster_info", ..detail("Cluster Info", sections::cluster_info) },
    Section { alias: "scriptingengines", ..usual("Scripting Engines", sections::engines) },
    usual("Keyspace", stats::keyspace),
    detail("Shards", shards::shards),
    Section { by_name_only: true, ..detail("Debug", stats::debug) },
];

/// Returns whether the arguments select a section.
fn is_wanted(section: &Section, args: &Args<'_>) -> bool {
    if args.len() == 1 {
        return section.by_default;
    }
    args.iter_from(1).any(|arg| {
        let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
        let by_name = is(section.title) || (!section.alias.is_empty() && is(section.alias));
        let by_group = (is("all") || is("everything")) && !section.by_name_only;
        by_name || by_group || (is("default") && section.by_default)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::SessionBench;
    use crate::resp::{Protocol, Value};

    fn info(bench: &mut SessionBench, sections: &[&str]) -> String {
        let args = [&["INFO"], sections].concat();
        match bench.run(&args) {
            Some(Value::Bulk(text)) => String::from_utf8(text).expect("text"),
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn titles(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_are_shown_once_and_in_order() {
        let mut bench = SessionBench::new();
        let usual: Vec<&str> =
            SECTIONS.iter().filter(|section| section.by_default).map(|s| s.title).collect();
        let all = SECTIONS.iter().filter(|section| !section.by_name_only);
        let all: Vec<&str> = all.map(|section| section.title).collect();
        assert_eq!(titles(&info(&mut bench, &[])), usual);
        assert_eq!(titles(&info(&mut bench, &["default"])), usual);
        assert_eq!(titles(&info(&mut bench, &["ALL", "default"])), all);
        assert_eq!(titles(&info(&mut bench, &["everything"])), all);
        assert_eq!(titles(&info(&mut bench, &["cpu", "Server", "cpu"])), ["Server", "CPU"]);
        assert_eq!(titles(&info(&mut bench, &["module_list"])), ["Modules"]);
        assert_eq!(info(&mut bench, &["nothing", ""]), "");
        bench.session.protocol = Protocol::Three;
        let reply = bench.run(&["INFO", "cluster"]);
        let text =
            b"# Cluster\r\ncluster_enabled:0\r\nslot_map_epoch:1\r\nslots_moved:0\r\n".to_vec();
        assert_eq!(reply, Some(Value::Verbatim(*b"txt", text)));
    }

    /// Fields of the reference that are left out here, by the beginning of their names, with the
    /// reason.
    const LEFT_OUT: &[(&str, &str)] = &[
        ("server_mode", "redis_mode, as extended-redis-compatibility says by default"),
        ("gcc_version", "this server is not compiled by a C compiler"),
        ("tls_", "there is no TLS yet"),
        ("mem_cluster_", "there is no cluster bus yet"),
        ("total_net_cluster_", "there is no cluster bus yet"),
        ("slot_migration_", "there is no cluster bus yet"),
        ("module", "there are no modules"),
        ("slave_expires_tracked_keys", "this server is no replica yet"),
        ("current_active_defrag_time", "each shard has compactions of its own"),
        ("dump_payload_sanitizations", "every payload is checked as it is read"),
        ("io_threaded_", "shards take the place of I/O threads"),
        ("reply_buffer_", "replies have no buffer of their own that is resized"),
        ("used_cpu_sys_main_thread", "there is no main thread"),
        ("used_cpu_user_main_thread", "there is no main thread"),
        ("cmdstat_", "depends on the commands that have run"),
        ("latency_percentiles_", "depends on the commands that have run"),
    ];

    #[test]
    fn fields_have_the_names_and_the_order_of_the_reference() {
        let reference = include_str!("../../tests/reference/valkey-9.1-info-fields.txt");
        let mut bench = SessionBench::with(|config| config.extended_redis_compatibility = true);
        let text = info(&mut bench, &["everything"]);
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_string();
        let ours: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(name).collect();
        let left_out = |name: &&str| LEFT_OUT.iter().any(|(begin, _)| name.starts_with(begin));
        let theirs = reference.lines().filter(|name| !name.starts_with("# ") && !left_out(name));
        let mut at = 0;
        for name in theirs {
            match ours[at..].iter().position(|ours| ours == name) {
                Some(found) => at += found + 1,
                None => panic!("{name} is missing or at another place"),
            }
        }
        for (begin, why) in LEFT_OUT {
            assert!(reference.lines().any(|line| line.starts_with(begin)), "{begin}: {why}");
        }
    }

    #[test]
    fn every_line_is_a_field() {
        let mut bench = SessionBench::new();
        let text = info(&mut bench, &["everything"]);
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            let (name, _) = line.split_once(':').expect("a name and a value");
            assert!(
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_|-.".contains(&b)),
                "{line}"
            );
        }
        for field in ["redis_version:7.2.4", "tcp_port:6379", "role:master", "loading:0"] {
            assert!(text.contains(&format!("\r\n{field}\r\n")), "{field}");
        }
        assert!(text.contains(&format!("\r\nannulet_version:{}\r\n", crate::config::VERSION)));
    }

    #[test]
    fn boards_are_added_up() {
        let mut bench = SessionBench::new();
        let boards = &bench.process.boards;
        let get = usize::from(bench.process.commands.find(b"get").expect("GET").index);
        for (number, board) in boards.iter().enumerate() {
            let number = number as u64 + 1;
            board.counters.commands_processed.add(10 * number);
            board.counters.changes.add(number);
            board.counters.expired_lazy.add(1);
            board.counters.expired_active.add(2);
            board.gauges.clients.set(4);
            board.databases[3].keys.set(5);
            board.databases[3].volatile.set(1);
            board.commands[get].calls.add(2);
            board.commands[get].ns.add(3_000);
            board.latencies.record(get, 2_000, 2);
            board.error_reply(b"WRONGTYPE Operation");
        }
        let text = info(&mut bench, &["all"]);
        for line in [
            "total_commands_processed:30",
            "rdb_changes_since_last_save:3",
            "expired_keys:6",
            "connected_clients:8",
            "db3:keys=10,expires=2,avg_ttl=0,keys_with_volatile_items=0",
            "cmdstat_get:calls=4,usec=6,usec_per_call=1.50,rejected_calls=0,failed_calls=0",
            "errorstat_WRONGTYPE:count=2",
            "shards:2",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}\n{text}");
        }
        assert!(text.contains("\r\nlatency_percentiles_usec_get:p50=2.0"), "{text}");
        assert!(text.contains("\r\nshard1:keys=5,expires=1,commands=20,connections=4,"), "{text}");
        bench.process.boards.reset();
        let text = info(&mut bench, &["all"]);
        assert!(
            text.contains("\r\nrdb_changes_since_last_save:3\r\n"),
            "a reset keeps unsaved changes"
        );
        assert!(text.contains("\r\ntotal_commands_processed:0\r\n"));
    }
}
