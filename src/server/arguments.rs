//! The command line: start the server, or print information.

use super::check::check_system;
use super::check_rdb::usage;
use super::threads::command_table;
use crate::acl::{Catalogue, check_line};
use crate::aof::CheckOptions;
use crate::base::glob;
use crate::config::{Config, FatalConfigError, Files, expand_pattern, version_line};
use clap::{Arg, ArgAction, Command};
use std::io::Read;
use std::sync::OnceLock;

/// What the process does.
pub(super) enum Errand {
    /// Serve with these settings.
    Serve(Box<Config>),
    /// Check the append-only file at this path.
    CheckAof(String, CheckOptions),
    /// Print this text and exit with success.
    Print(String),
    /// Print this text to the standard error and exit with failure.
    Fail(String),
    /// Check this data file.
    CheckRdb(String),
}

/// Programs of the reference that are not part of this server.
const OTHERS: [&str; 3] = ["sentinel", "benchmark", "-cli"];

/// The name of the tool that checks append-only files.
const CHECK_AOF: &str = "check-aof";

/// The name of the errand that checks a data file: a part of the program's name, or the first
/// argument.
const CHECK_RDB: &str = "check-rdb";

/// Parses the name that the program was started by, and the arguments behind it. Any name starts
/// the server, except the names of other programs.
pub(super) fn errand(program: &str, argv: &[String]) -> Errand {
    let name = program.rsplit('/').next().unwrap_or_default();
    if let Some(other) = OTHERS.iter().find(|other| name.contains(*other)) {
        return Errand::Fail(format!("{name}: this program is a server, and no {other}\n"));
    }
    if name.contains(CHECK_AOF) {
        return check_aof_errand(program, argv);
    }
    if name.contains(CHECK_RDB) {
        return check_rdb_errand(program, argv);
    }
    match argv {
        [first, rest @ ..] if first == CHECK_AOF => {
            check_aof_errand(&format!("{program} {CHECK_AOF}"), rest)
        }
        [first, rest @ ..] if first == CHECK_RDB => check_rdb_errand(program, rest),
        [first, ..] if first == "-v" || first == "--version" => {
            Errand::Print(version_line() + "\n")
        }
        [first, ..] if first == "--check-system" => match check_system() {
            (text, true) => Errand::Print(text),
            (text, false) => Errand::Fail(text),
        },
        [first, ..] if first == "-h" || first == "--help" => Errand::Print(help()),
        _ => match Config::load(argv, &files()) {
            Ok(config) => Errand::Serve(Box::new(config)),
            Err(error) => Errand::Fail(fatal(&error)),
        },
    }
}

/// Parses the arguments of the tool that checks append-only files.
fn check_aof_errand(program: &str, argv: &[String]) -> Errand {
    let usage = "[--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>";
    let usage = || Errand::Fail(format!("Usage: {program} {usage}\n"));
    let args: Vec<&str> = argv.iter().map(String::as_str).collect();
    let (options, path) = match args[..] {
        ["-v" | "--version"] => {
            return Errand::Print(format!("valkey-check-aof {}\n", version_line()));
        }
        [path] => (CheckOptions::default(), path),
        ["--fix", path] => (CheckOptions { fixes: true, until_s: None }, path),
        ["--truncate-to-timestamp", time, path] => match time.parse() {
            Ok(time) => (CheckOptions { fixes: false, until_s: Some(time) }, path),
            Err(_) => return Errand::Fail("Invalid timestamp, aborting...\n".to_owned()),
        },
        _ => return usage(),
    };
    Errand::CheckAof(path.to_owned(), options)
}

/// Parses the arguments of the errand that checks a data file.
fn check_rdb_errand(program: &str, args: &[String]) -> Errand {
    match args {
        [only] if only == "-v" || only == "--version" => Errand::Print(version_line() + "\n"),
        [path] => Errand::CheckRdb(path.clone()),
        _ => Errand::Fail(usage(program)),
    }
}

fn fatal(error: &FatalConfigError) -> String {
    format!("{error}\n")
}

fn files() -> Files<'static> {
    Files {
        read: &|path| std::fs::read(path),
        standard_input: &|| {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            Ok(text)
        },
        check_user: &|args| {
            static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
            check_line(args, CATALOGUE.get_or_init(|| command_table().catalogue()))
        },
        is_command: &|name| command_table().find(name).is_some(),
        expand: &|pattern| expand_pattern(pattern, &|glob, name| glob::matches(glob, name, false)),
    }
}

/// Returns the text of `--help`. Clap only formats it. Clap does not parse directives, because any
/// setting may follow with one or more values, as in redis-server.
fn help() -> String {
    let directive = "Any setting, with its values: --port 6380 --save 60 1 --shards 4";
    Command::new("annulet")
        .about("A Redis-compatible in-memory data server: one thread and one ring per core")
        .override_usage("annulet [CONFIG_FILE | -] [--DIRECTIVE VALUE ...]")
        .disable_help_flag(true)
        .arg(Arg::new("CONFIG_FILE").help("A redis.conf or valkey.conf; - reads standard input"))
        .arg(Arg::new("DIRECTIVE").long("DIRECTIVE").value_name("VALUE").help(directive))
        .arg(Arg::new("check-system").long("check-system").action(ArgAction::SetTrue))
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::SetTrue))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue))
        .render_help()
        .to_string()
}
