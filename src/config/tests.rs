//! Tests of all cards: against the reference server, and through files, the command line and CONFIG
//! SET.

use super::*;
use std::cell::Cell;
use std::io;
use std::path::Path;

/// CONFIG GET `*` of a Valkey 9.1 server, one setting per line, tab-separated.
const REFERENCE: &str = include_str!("reference.tsv");

/// CONFIG GET `*` of a Redis 8.0 server, in the form of [`REFERENCE`].
const REDIS: &str = include_str!("../../tests/reference/redis-8.0-config.tsv");

/// Settings that Redis 8.0 shows with another value than Valkey 9.1.
const REDIS_DIFFERS: &[&str] = &[
    "hide-user-data-from-log",
    "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire",
    "lazyfree-lazy-server-del",
    "lazyfree-lazy-user-del",
    "lazyfree-lazy-user-flush",
    "repl-backlog-size",
    "replica-lazy-flush",
    "slave-lazy-flush",
    "syslog-ident",
];

/// The config files that the two servers ship.
const STOCK_FILES: [&str; 2] = [
    include_str!("../../tests/reference/redis-stock.conf"),
    include_str!("../../tests/reference/valkey-stock.conf"),
];

/// Settings with another value in the reference's list, because that server was started with them.
const STARTED_WITH: &[&str] = &["port", "save", "daemonize", "pidfile", "dir"];

fn load(argv: &[&str], file: &str) -> Result<Config, FatalConfigError> {
    let files = Files {
        read: &|path: &Path| match path.file_name().and_then(|name| name.to_str()) {
            Some("main.conf") => Ok(file.as_bytes().to_vec()),
            Some("more.conf") => Ok(b"timeout 7\nsave 5 6".to_vec()),
            Some("bad.conf") => Ok(b"\nport x\n".to_vec()),
            Some("self.conf") => Ok(b"include self.conf".to_vec()),
            _ => Err(io::Error::from_raw_os_error(2)),
        },
        standard_input: &|| Ok(b"maxclients 77\ntimeout 9\n".to_vec()),
        check_user: &|_| Ok(()),
        is_command: &|name| [&b"GET"[..], b"FLUSHALL"].contains(&name),
        expand: &|path: &Path| {
            if path.ends_with("none-*") { vec![] } else { vec![path.with_file_name("more.conf")] }
        },
    };
    Config::load(argv, &files)
}

fn cell() -> ConfigCell {
    ConfigCell::new(Config::default())
}

fn set(cell: &ConfigCell, pairs: &[(&str, &str)]) -> Result<Changes, String> {
    let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    cell.set(&pairs, Caller::default()).map_err(|error| error.to_string())
}

fn shown(cell: &ConfigCell, name: &str) -> String {
    String::from_utf8(cell.get_exact(name.as_bytes()).unwrap()).unwrap()
}

#[test]
fn defaults_and_names_match_the_reference() {
    let cell = cell();
    let ours = cell.get(&|_| true);
    let own = [
        "shards",
        "pin-shards",
        "offload-elements-min",
        "io-driver",
        "latency-profile-interval",
        "http-port",
        "http-bind",
        "cluster-shard-ports",
        "authentication-timeout",
    ];
    let mut expected: Vec<&str> = own.to_vec();
    for line in REFERENCE.lines() {
        let (name, value) = line.split_once('\t').unwrap_or((line, ""));
        expected.push(name);
        if !STARTED_WITH.contains(&name) {
            assert_eq!(shown(&cell, name), value, "{name}");
        }
    }
    expected.sort_unstable();
    let names: Vec<&str> = ours.iter().map(|(name, _)| *name).collect();
    let differing: Vec<_> = names.iter().filter(|name| !expected.contains(name)).collect();
    assert!(differing.is_empty(), "differ from the reference: {differing:?}");
    assert_eq!(names.len(), expected.len());
}

#[test]
fn directives_of_redis_are_known() {
    let cell = cell();
    for line in REDIS.lines() {
        let (name, value) = line.split_once('\t').unwrap_or((line, ""));
        if load::SKIPPED.iter().any(|(skipped, _)| *skipped == name) {
            let config = load(&["main.conf"], &format!("{name} 1"));
            assert!(config.is_ok(), "{name}");
        } else if !STARTED_WITH.contains(&name) && !REDIS_DIFFERS.contains(&name) {
            assert_eq!(shown(&cell, name), value, "{name}");
        } else {
            shown(&cell, name);
        }
    }
}

#[test]
fn stock_files_start_the_server() {
    for file in STOCK_FILES {
        let config = load(&["main.conf"], file).unwrap();
        assert_eq!((config.port, config.databases), (6379, 16));
        assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
    }
}

#[test]
fn every_default_survives_being_set() {
    let config = Config::default();
    for setting in settings().filter(|s| s.refusal.is_empty()) {
        let text = setting.text(&config);
        let mut other = config.clone();
        let args = card::words_of_text(setting.kind, &text);
        assert_eq!(setting.set(&mut other, &args), Ok(()), "{}", setting.name);
        assert_eq!(setting.text(&other), text, "{}", setting.name);
    }
}

/// A tool that sets everything that CONFIG GET shows must not fail on settings that the reference
/// lacks.
#[test]
fn own_settings_may_repeat_their_value() {
    let cell = cell();
    let reference: Vec<&str> =
        REFERENCE.lines().filter_map(|line| line.split('\t').next()).collect();
    for (name, value) in cell.get(&|name| !reference.contains(&name)) {
        let value = String::from_utf8(value).unwrap();
        assert_eq!(
            set(&cell, &[(name, &value)]).map(|changes| changes.changed.len()),
            Ok(0),
            "{name}"
        );
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = settings().flat_map(|s| [s.name, s.alias]).collect();
    names.retain(|name| !name.is_empty());
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_file_and_argv_make_one_text() {
    let file = "# comment\n\nport 7001\nbind 127.0.0.1 ::1\nrequirepass \"a b\"\n\
                save 900 1\nsave 300 10\nCLIENT-output-buffer-limit pubsub 1mb 2k 3\n\
                user bob on >pw\nrename-command FLUSHALL ''\ndynamic-hz yes\nhz 9000\n";
    let config = load(&["main.conf", "--port", "7002", "--loglevel", "verbose"], file).unwrap();
    assert_eq!(config.port, 7002);
    assert_eq!(config.bind, ["127.0.0.1", "::1"]);
    assert_eq!(config.requirepass, b"a b");
    assert_eq!(config.text("save").unwrap(), b"900 1 300 10");
    assert_eq!(config.client_output_buffer_limit.pubsub.hard_bytes, 1 << 20);
    assert_eq!(config.client_output_buffer_limit.replica.soft_seconds, 60);
    assert_eq!(config.users, [[b"bob".to_vec(), b"on".to_vec(), b">pw".to_vec()]]);
    assert_eq!(config.renamed_commands, [(b"FLUSHALL".to_vec(), vec![])]);
    assert_eq!(config.hz, 500);
    assert_eq!(config.loglevel, LogLevel::Verbose);
    assert!(config.config_file.unwrap().is_absolute());
}

#[test]
fn command_line_forms() {
    let config = load(&["--save", "", "--port 0", "--bind", "1.2.3.4", "5.6.7.8"], "").unwrap();
    assert_eq!((config.port, config.save.len()), (0, 0));
    assert_eq!(config.bind, ["1.2.3.4", "5.6.7.8"]);
    assert!(load(&["--save", "--port", "1"], "").unwrap().save.is_empty());
    assert!(load(&["--save"], "").unwrap().save.is_empty());
    assert_eq!(load(&["--save", "3 4 5 6"], "").unwrap().save.len(), 2);
    assert_eq!(load(&["--requirepass", "--x"], "").unwrap().requirepass, b"--x");
    let config = load(&["-", "--timeout", "3"], "").unwrap();
    assert_eq!((config.maxclients, config.timeout), (77, 3));
    let config = load(&["main.conf", "--port", "3", "-"], "timeout 1\n").unwrap();
    assert_eq!((config.port, config.timeout), (3, 9));
    assert_eq!(load(&[], "").unwrap().port, 6379);
}

#[test]
fn includes() {
    let config = load(&["main.conf"], "save 1 2\ninclude more.conf\ninclude none-*").unwrap();
    assert_eq!((config.timeout, config.save.len()), (7, 2));
    assert_eq!(load(&["main.conf"], "include m*.conf").unwrap().timeout, 7);
    let error = load(&["main.conf"], "include gone.conf").unwrap_err().to_string();
    assert_eq!(error, "Fatal error, can't open config file 'gone.conf': No such file or directory");
    let error = load(&["main.conf"], "include bad.conf").unwrap_err();
    assert!(matches!(error, FatalConfigError::Line { number: 2, .. }));
    let error = load(&["main.conf"], "include self.conf").unwrap_err().to_string();
    assert!(error.contains("include one another"), "{error}");
}

#[test]
fn a_bad_line_stops_the_start() {
    let error = load(&["main.conf"], "port 1\n  nonsense 3 \n").unwrap_err().to_string();
    let expected = format!(
        "\n*** FATAL CONFIG FILE ERROR (Version {VERSION}) ***\n\
         Reading the configuration file, at line 2\n>>> 'nonsense 3'\n\
         Bad directive or wrong number of arguments"
    );
    assert_eq!(error, expected);
    let reason = |line: &str| match load(&["main.conf"], line).unwrap_err() {
        FatalConfigError::Line { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason("port"), "wrong number of arguments");
    assert_eq!(reason("port 1 2"), "wrong number of arguments");
    assert_eq!(reason("port 65536"), "argument must be between 0 and 65535 inclusive");
    assert_eq!(reason("logfile \"x"), "Unbalanced quotes in configuration line");
    assert_eq!(reason("save 1"), "Invalid save parameters");
    assert_eq!(reason("rename-command NONE a"), "No such command in rename-command");
    let file = "rename-command GET g\nrename-command g ''\nrename-command GET x";
    assert_eq!(reason(file), "No such command in rename-command");
    let file = "rename-command GET FLUSHALL";
    assert_eq!(reason(file), "Target command name already exists");
    assert_eq!(reason("dir /nowhere/at/all"), "No such file or directory");
    let error = load(&["gone.conf"], "").unwrap_err().to_string();
    assert_eq!(error, "Fatal error, can't open config file 'gone.conf': No such file or directory");
    let error = FatalConfigError::of_log_file(&io::Error::from_raw_os_error(13)).to_string();
    assert!(error.ends_with(" ***\nCan't open the log file: Permission denied"), "{error}");
    let error = load(&["--port", "x"], "").unwrap_err().to_string();
    assert!(error.contains("at line 2\n>>> 'port \"x\"'\nargument couldn't be"), "{error}");
}

/// The names of the settings that have changed.
fn names(changes: &Changes) -> Vec<&'static str> {
    changes.changed.iter().map(|setting| setting.name).collect()
}

#[test]
fn shards_follow_up_what_has_changed() {
    let cell = cell();
    let follow_up = |pairs: &[(&str, &str)]| {
        let FollowUp { shards_settle, listeners_change } = set(&cell, pairs).unwrap().follow_up();
        (shards_settle, listeners_change)
    };
    assert_eq!(follow_up(&[("timeout", "5"), ("loglevel", "debug")]), (false, false));
    assert_eq!(follow_up(&[("timeout", "6"), ("maxmemory", "1mb")]), (true, false));
    assert_eq!(follow_up(&[("maxmemory", "1mb")]), (false, false), "it has that value");
    assert_eq!(follow_up(&[("import-mode", "yes"), ("port", "0")]), (true, true));
}

#[test]
fn set_is_all_or_nothing() {
    let cell = cell();
    let version = cell.version();
    let error = set(&cell, &[("timeout", "5"), ("maxclients", "0")]).unwrap_err();
    assert_eq!(
        error,
        "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be \
         between 1 and 4294967295 inclusive"
    );
    assert_eq!((cell.snapshot().timeout, cell.version()), (0, version));
    let changes = set(&cell, &[("TIMEOUT", "5"), ("maxclients", "10000")]).unwrap();
    assert_eq!(names(&changes), ["timeout"]);
    assert_eq!((changes.before.timeout, cell.snapshot().timeout), (0, 5));
    assert!(cell.version() > version);
}

#[test]
fn set_refuses_with_the_reference_s_texts() {
    let cell = cell();
    let failed = |name: &str, reason: &str| {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    let error = |pairs: &[(&str, &str)]| set(&cell, pairs).unwrap_err();
    let unknown = "ERR Unknown option or number of arguments for CONFIG SET - 'Foo bar'";
    assert_eq!(error(&[("Foo\nbar", "x"), ("databases", "1")]), unknown);
    assert_eq!(error(&[("Databases", "1")]), failed("Databases", "can't set immutable config"));
    assert_eq!(error(&[("shards", "7")]), failed("shards", "can't set immutable config"));
    assert!(set(&cell, &[("shards", "0"), ("io-driver", "auto")]).unwrap().changed.is_empty());
    assert_eq!(error(&[("dir", "/")]), failed("dir", "can't set protected config"));
    let twice = [("timeout", "1"), ("Timeout", "2")];
    assert_eq!(error(&twice), failed("Timeout", "duplicate parameter"));
    for (name, value, reason) in [
        ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
        ("timeout", "x", "argument couldn't be parsed into an integer"),
        ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ("maxmemory", "1x", "argument must be a memory value"),
        ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
        ("maxmemory-clients", "x%", "argument must be a memory or percent value"),
        (
            "loglevel",
            "loud",
            "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
        ),
        ("save", "1 2 3", "Invalid save parameters"),
        (
            "client-output-buffer-limit",
            "odd 1 2 3",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "proc-title-template",
            "{title}",
            "template format is invalid or contains unknown variables",
        ),
        ("locale-collate", "local", "Invalid locale name"),
        ("proc-title-template", "{x}", "template format is invalid or contains unknown variables"),
        ("notify-keyspace-events", "Q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
    ] {
        assert_eq!(error(&[(name, value)]), failed(name, reason));
    }
    let loading = Caller { loading: true, local: false };
    let error = cell.set(&[(b"appendonly", b"yes")], loading).unwrap_err().to_string();
    assert_eq!(error, "LOADING Valkey is loading the dataset in memory");
}

#[test]
fn values_are_shown_in_their_own_form() {
    let cell = cell();
    for (name, value, expected) in [
        ("maxmemory", "10Mb", "10485760"),
        ("maxmemory-clients", "5%", "5%"),
        ("save", "", ""),
        ("save", "60 1 5 0", "60 1 5 0"),
        ("bind", "", ""),
        ("loglevel", "WARNING", "warning"),
        ("notify-keyspace-events", "xKEA", "AKE"),
        ("notify-keyspace-events", "Elg", "glE"),
        ("shutdown-on-sigterm", "force nosave", "nosave force"),
        ("latency-tracking-info-percentiles", "0 50.0 99.99", "0 50 99.99"),
        ("oom-score-adj", "relative", "yes"),
        ("slowlog-max-len", "3", "3"),
        ("hz", "1000", "500"),
        ("repl-backlog-size", "1kb", "16384"),
        ("locale-collate", "de_DE.UTF-8", "de_DE.UTF-8"),
    ] {
        set(&cell, &[(name, value)]).unwrap();
        assert_eq!(shown(&cell, name), expected, "{name} {value}");
    }
    assert_eq!(shown(&cell, "commandlog-slow-execution-max-len"), "3");
}

#[test]
fn get_hides_settings_that_need_a_full_name() {
    let cell = cell();
    let asked = Cell::new(0);
    let found = cell.get(&|name| {
        asked.set(asked.get() + 1);
        name.starts_with("lua-")
    });
    assert!(asked.get() > 200);
    assert_eq!(found, [("lua-time-limit", b"5000".to_vec())]);
    assert_eq!(cell.get_exact(b"LUA-enable-deprecated-api"), Some(b"no".to_vec()));
    assert_eq!(cell.get_exact(b"nonsense"), None);
}

#[test]
fn a_failed_change_is_reverted() {
    let cell = cell();
    let port = set(&cell, &[("port", "1"), ("timeout", "4")]).unwrap();
    set(&cell, &[("maxclients", "9")]).unwrap();
    let error = cell.restore(&port, "port", "Unable to listen on this port. Check server logs.");
    let text = "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on \
                this port. Check server logs.";
    assert_eq!(error.to_string(), text);
    let config = cell.snapshot();
    assert_eq!((config.port, config.timeout, config.maxclients), (6379, 0, 9));
}

#[test]
fn protected_settings_need_permission() {
    let config = load(&["--enable-protected-configs", "local"], "").unwrap();
    let cell = ConfigCell::new(config);
    let pair: [(&[u8], &[u8]); 1] = [(b"dir", b"/")];
    assert!(cell.set(&pair, Caller { local: false, loading: false }).is_err());
    let changes = cell.set(&pair, Caller { local: true, loading: false }).unwrap();
    assert_eq!(names(&changes), ["dir"]);
    assert_eq!(shown(&cell, "dir"), "/");
}

#[test]
fn settings_without_effect_are_named() {
    let config = load(&["--io-threads", "4", "--timeout", "1"], "").unwrap();
    let names: Vec<&str> = config.without_effect().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["io-threads"]);
}

#[test]
fn patterns_expand_to_existing_paths() {
    let directory = std::env::temp_dir().join(format!("annulet-expand-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("conf.d")).unwrap();
    for name in ["b.conf", "a.conf", "a.txt", ".hidden.conf"] {
        std::fs::write(directory.join("conf.d").join(name), "").unwrap();
    }
    let ends = |pattern: &[u8], name: &[u8]| name.ends_with(pattern.strip_prefix(b"*").unwrap());
    let found = expand_pattern(&directory.join("conf.d/*.conf"), &ends);
    let none = expand_pattern(&directory.join("gone/*.conf"), &ends);
    std::fs::remove_dir_all(&directory).unwrap();
    let expected = ["a.conf", "b.conf"].map(|name| directory.join("conf.d").join(name));
    assert_eq!((found, none.len()), (expected.to_vec(), 0));
}
