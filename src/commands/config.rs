//! CONFIG: the settings while the server runs.

use super::help::{help_card, help_command};
use crate::base::crash;
use crate::base::glob;
use crate::base::thread::raise_descriptor_limit;
use crate::base::title;
use crate::config::{Caller, Changes, Config, ConfigError, rewrite_file, settings};
use crate::control::ListenError;
use crate::exec::{ArgAt, Command, Process, Request, SessionContext};
use crate::observe::{Level, LogForm};
use crate::resp::{Args, Error};
use crate::spec::{Card, Flag, Group};
use std::sync::{Mutex, PoisonError};

/// Descriptors that the process needs besides those of its clients.
const RESERVED_DESCRIPTORS: u64 = 64;

pub(super) static CONFIG: Command = Command::container(
    Card::new("config", Group::Server, "2.0.0")
        .summary("A container for server configuration commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[&GET, &SET, &RESETSTAT, &REWRITE, &HELP],
);

static GET: Command = Command::session(
    get,
    Card::new("get", Group::Server, "2.0.0")
        .summary("Returns the effective values of configuration parameters.")
        .complexity("O(N) when N is the number of configuration parameters provided")
        .arity(-3)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE)),
);

fn get(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let cell = &cx.process.config;
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for word in args.iter_from(2) {
        let is_pattern = word.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let settings: Vec<(Vec<u8>, Vec<u8>)> = if is_pattern {
            let settings = cell.get(&|name| glob::matches(word, name.as_bytes(), true));
            settings.into_iter().map(|(name, text)| (name.as_bytes().to_vec(), text)).collect()
        } else {
            cell.get_exact(word).map(|text| (word.to_vec(), text)).into_iter().collect()
        };
        for (name, text) in settings {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                found.push((name, text));
            }
        }
    }
    found.sort_by_cached_key(|(name, _)| name.to_ascii_lowercase());
    cx.reply.map(found.len());
    for (name, text) in &found {
        cx.reply.bulk(name);
        cx.reply.bulk(text);
    }
    Ok(())
}

static SET: Command = Command::session(
    set,
    Card::new("set", Group::Server, "2.0.0")
        .summary("Sets configuration parameters in-flight.")
        .complexity("O(N) when N is the number of configuration parameters provided")
        .arity(-4)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
)
.secrets(is_sensitive);

/// Returns whether an argument of CONFIG SET is the value of a setting that must not be shown.
fn is_sensitive(_argc: usize, arg: ArgAt<'_>, at: usize) -> bool {
    let is_value = at >= 3 && at % 2 == 1;
    let is = |name: &str| !name.is_empty() && arg(at - 1).eq_ignore_ascii_case(name.as_bytes());
    is_value && settings().any(|card| card.sensitive && (is(card.name) || is(card.alias)))
}

/// Held while settings change, and while files are rewritten from them.
static ONE_CHANGE: Mutex<()> = Mutex::new(());

fn set(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if !args.len().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> =
        (2..args.len()).step_by(2).map(|at| (&args[at], &args[at + 1])).collect();
    let caller = Caller { local: cx.session.is_local(), loading: cx.process.is_loading() };
    // What follows from one change is done before the next one is looked at.
    let _one = ONE_CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let changes = cx.process.config.set(&pairs, caller).map_err(config_error)?;
    carry_out(cx.process, &changes).map_err(config_error)?;
    cx.request = Some(Request::SettingsChanged);
    Ok(())
}

fn config_error(error: ConfigError) -> Error {
    Error::other(error.to_string())
}

/// What follows at once from a change of some settings. What concerns shards only is theirs to see.
struct Effect {
    /// The settings.
    names: &'static [&'static str],
    /// Makes the process as the settings say, or tells why it stays as it was.
    apply: fn(&Process, &Config) -> Result<(), String>,
}

const EFFECTS: &[Effect] = &[
    Effect { names: &["maxclients"], apply: apply_maxclients },
    Effect { names: &["loglevel", "log-format", "log-timestamp-format"], apply: apply_log },
    Effect { names: &["oom-score-adj", "oom-score-adj-values"], apply: apply_oom_score },
    Effect { names: &["proc-title-template"], apply: apply_title },
    Effect { names: &["dir"], apply: apply_dir },
    Effect { names: &["crash-log-enabled"], apply: apply_crash_log },
    Effect { names: &["watchdog-period"], apply: apply_watchdog },
];

/// Settings that need other sockets, each with what the reference says when it cannot listen.
const LISTENING: [(&str, &str); 2] = [
    ("port", "Unable to listen on this port. Check server logs."),
    ("bind", "Failed to bind to specified addresses."),
];

/// Does what follows from a change at once, or takes the change back.
fn carry_out(process: &Process, changes: &Changes) -> Result<(), ConfigError> {
    let mut done: Vec<&Effect> = Vec::new();
    let mut listening = None;
    for name in &changes.names {
        let is_listening = LISTENING.iter().find(|(setting, _)| setting == name);
        let result = match (is_listening, EFFECTS.iter().find(|effect| effect.names.contains(name)))
        {
            (Some(_), _) if listening.is_some() => Ok(()),
            (Some((_, refusal)), _) => match process.listeners.change(&changes.after) {
                Ok(change) => {
                    listening = Some((name, change));
                    Ok(())
                }
                Err(ListenError { address, port, error }) => {
                    process.log.warning(&format!(
                        "Could not create server TCP listening socket {address}:{port}: {error}"
                    ));
                    Err(refusal.to_string())
                }
            },
            (None, Some(effect)) if done.iter().any(|known| std::ptr::eq(*known, effect)) => Ok(()),
            (None, Some(effect)) => {
                done.push(effect);
                (effect.apply)(process, &changes.after)
            }
            (None, None) => Ok(()),
        };
        if let Err(reason) = result {
            return Err(take_back(process, changes, &done, name, &reason));
        }
    }
    if let Some((name, change)) = listening
        && let Err(error) = change.commit()
    {
        return Err(take_back(process, changes, &done, name, &error.to_string()));
    }
    Ok(())
}

fn take_back(
    process: &Process,
    changes: &Changes,
    done: &[&Effect],
    name: &str,
    reason: &str,
) -> ConfigError {
    process.log.warning(&format!(
        "Failed applying new configuration. Possibly related to new {name} setting. Restoring \
         previous settings."
    ));
    let error = process.config.restore(changes, name, reason);
    for effect in done {
        if let Err(why) = (effect.apply)(process, &changes.before) {
            process.log.warning(&format!("Failed restoring a previous setting: {why}"));
        }
    }
    error
}

fn apply_maxclients(_: &Process, config: &Config) -> Result<(), String> {
    let wanted = u64::from(config.maxclients);
    let limit = raise_descriptor_limit(wanted + RESERVED_DESCRIPTORS);
    let room = limit.saturating_sub(RESERVED_DESCRIPTORS);
    if room >= wanted {
        return Ok(());
    }
    Err(format!(
        "The operating system is not able to handle the specified number of clients, try with \
         {room}"
    ))
}

fn apply_log(process: &Process, config: &Config) -> Result<(), String> {
    process.log.set_level(Level::from_index(config.loglevel as usize));
    process.log.set_form(log_form(config));
    Ok(())
}

/// How the settings want lines of the log to look.
pub fn log_form(config: &Config) -> LogForm {
    LogForm { layout: config.log_format as u8, time: config.log_timestamp_format as u8 }
}

fn apply_oom_score(process: &Process, config: &Config) -> Result<(), String> {
    process.oom_score.apply(config).map_err(|error| {
        process.log.warning(&format!("Unable to write oom_score_adj: {error}"));
        "Failed to set current oom_score_adj. Check server logs.".to_string()
    })
}

fn apply_title(_: &Process, config: &Config) -> Result<(), String> {
    if config.set_proc_title {
        title::set(|program| config.title(program));
    }
    Ok(())
}

fn apply_crash_log(_: &Process, config: &Config) -> Result<(), String> {
    crash::set_enabled(config.crash_log_enabled);
    Ok(())
}

fn apply_watchdog(_: &Process, config: &Config) -> Result<(), String> {
    crash::watch_for(config.watchdog_period);
    Ok(())
}

/// Names of files without a folder are of this one from now on.
fn apply_dir(_: &Process, config: &Config) -> Result<(), String> {
    std::env::set_current_dir(&config.dir).map_err(|error| error.to_string())
}

static RESETSTAT: Command = Command::session(
    resetstat,
    Card::new("resetstat", Group::Server, "2.0.0")
        .summary("Resets the server's statistics.")
        .constant_time()
        .arity(2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
);

fn resetstat(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::ResetStatistics);
    Ok(())
}

static REWRITE: Command = Command::session(
    rewrite,
    Card::new("rewrite", Group::Server, "2.8.0")
        .summary("Persists the effective configuration to file.")
        .constant_time()
        .arity(2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
);

fn rewrite(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    rewrite_settings(cx.process, false)?;
    cx.reply.ok();
    Ok(())
}

/// Brings the config file up to date; with `in_full` it names all settings.
pub(super) fn rewrite_settings(process: &Process, in_full: bool) -> Result<(), Error> {
    let _one = ONE_CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = process.config.snapshot();
    let Some(path) = &config.config_file else {
        return Err(Error::other("ERR The server is running without a config file"));
    };
    match rewrite_file(path, &config, in_full) {
        Ok(()) => process.log.notice("CONFIG REWRITE executed with success."),
        Err(why) => {
            process.log.warning(&format!("CONFIG REWRITE failed: {why}"));
            return Err(Error::other(format!("ERR Rewriting config file: {why}")));
        }
    }
    Ok(())
}

static HELP: Command = help_command(help_card(Group::Server, "5.0.0"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::session_testing::{SessionBench, show};

    #[test]
    fn get_shows_each_setting_once_in_order() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            CONFIG GET nothere => []
            CONFIG GET MAXMEMORY maxmemory => ["MAXMEMORY" "0"]
            CONFIG GET maxmemory-POL* => ["maxmemory-policy" "noeviction"]
            CONFIG GET port maxmemory-p?licy maxmemory => ["maxmemory" "0" "maxmemory-policy"
                | "noeviction" "port" "6379"]
            "#,
        );
        bench.session.protocol = crate::resp::Protocol::Three;
        bench.check_script(r#"CONFIG GET maxmemory => {"maxmemory" "0"}"#);
    }

    #[test]
    fn set_changes_all_or_nothing() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            CONFIG SET maxmemory 1mb hz 20 => ?SettingsChanged
            CONFIG GET maxmemory => ["maxmemory" "1048576"]
            CONFIG SET maxmemory 2mb hz => -ERR syntax error
            CONFIG SET maxmemory 2mb foo bar => -ERR Unknown option or number of arguments for
                | CONFIG SET - 'foo'
            CONFIG SET maxmemory 1 maxmemory 2 => -ERR CONFIG SET failed (possibly related to
                | argument 'maxmemory') - duplicate parameter
            CONFIG SET databases 3 => -ERR CONFIG SET failed (possibly related to argument
                | 'databases') - can't set immutable config
            CONFIG GET maxmemory => ["maxmemory" "1048576"]
            CONFIG SET loglevel warning => ?SettingsChanged
            CONFIG RESETSTAT => ?ResetStatistics
            CONFIG SET maxmemory => -ERR wrong number of arguments for 'config|set' command
            "#,
        );
        assert!(bench.process.log.logs(Level::Warning) && !bench.process.log.logs(Level::Notice));
        bench.check_script("CONFIG SET loglevel nothing => ?SettingsChanged");
    }

    #[test]
    fn a_port_that_is_taken_changes_nothing() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let port = taken.local_addr().expect("it is bound").port();
        let mut bench = SessionBench::with(|config| config.bind = vec!["127.0.0.1".to_string()]);
        let script = format!(
            r#"
            CONFIG SET hz 30 loglevel debug port {port} => -ERR CONFIG SET failed (possibly related
                | to argument 'port') - Unable to listen on this port. Check server logs.
            CONFIG GET hz loglevel port => ["hz" "10" "loglevel" "notice" "port" "6379"]
            CONFIG SET port {port} bind 127.0.0.1~::1 => -ERR CONFIG SET failed (possibly related to
                | argument 'port') - Unable to listen on this port. Check server logs.
            CONFIG SET bind 192.0.2.1 => -ERR CONFIG SET failed (possibly related to argument
                | 'bind') - Failed to bind to specified addresses.
            CONFIG SET port 0 => ?SettingsChanged
            "#,
        );
        bench.check_script(&script);
        assert!(bench.process.listeners.is_empty());
    }

    #[test]
    fn rewrite_brings_the_file_up_to_date() {
        let script = "CONFIG REWRITE => -ERR The server is running without a config file";
        SessionBench::new().check_script(script);
        let name = format!("annulet-config-{}.conf", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "# mine\nhz 20\n").unwrap();
        let mut bench = SessionBench::with(|config| config.config_file = Some(path.clone()));
        bench.check_script(
            "
            CONFIG SET timeout 7 => ?SettingsChanged
            CONFIG REWRITE => OK
            ",
        );
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with("# mine\nhz 10\n"), "{text}");
        assert!(text.contains("# Generated by CONFIG REWRITE\ntimeout 7\n"), "{text}");
    }

    #[test]
    fn more_clients_than_descriptors_are_refused() {
        let mut bench = SessionBench::new();
        let shown =
            show(&bench.run(&["CONFIG", "SET", "maxclients", "4000000000"]).expect("a reply"));
        let start = "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The \
                     operating system is not able to handle the specified number of clients, try";
        assert!(shown.starts_with(start), "{shown}");
        bench.check_script(r#"CONFIG GET maxclients => ["maxclients" "10000"]"#);
    }
}
