//! CONFIG: reading and changing the settings of a running server.

use super::help::{help_card, help_command};
use crate::base::crash;
use crate::base::glob;
use crate::base::thread::raise_descriptor_limit;
use crate::base::title;
use crate::config::{
    Applied, Caller, Changes, Config, ConfigError, OnChange, rewrite_file, settings,
};
use crate::control::{Change, ListenError};
use crate::exec::{ArgAt, Command, Process, Request, SessionContext};
use crate::observe::{Level, LogForm};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};
use std::sync::{Mutex, PoisonError};

/// Number of file descriptors that the process needs besides the ones of its clients.
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
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE))
        .history(&[("7.0.0", "Added the ability to pass multiple pattern parameters in one call")])
        .args(&[Arg::string("parameter").repeated()]),
);

fn get(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let cell = &cx.process.config;
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for arg in args.iter_from(2) {
        let is_pattern = arg.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let settings: Vec<(Vec<u8>, Vec<u8>)> = if is_pattern {
            let settings = cell.get(&|name| glob::matches(arg, name.as_bytes(), true));
            settings.into_iter().map(|(name, text)| (name.as_bytes().to_vec(), text)).collect()
        } else {
            cell.get_exact(arg).map(|text| (arg.to_vec(), text)).into_iter().collect()
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
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .history(&[("7.0.0", "Added the ability to set multiple parameters in one call.")])
        .args(&[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).repeated()]),
)
.asks_shards()
.secrets(is_sensitive);

/// Returns whether an argument of CONFIG SET is the value of a sensitive setting, which logs must
/// not show.
fn is_sensitive(_argc: usize, arg: ArgAt<'_>, at: usize) -> bool {
    let is_value = at >= 3 && at % 2 == 1;
    let is = |name: &str| !name.is_empty() && arg(at - 1).eq_ignore_ascii_case(name.as_bytes());
    is_value && settings().any(|card| card.sensitive && (is(card.name) || is(card.alias)))
}

/// Locked while settings change, and while files are rewritten from them.
static ONE_CHANGE: Mutex<()> = Mutex::new(());

fn set(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if !args.len().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> =
        (2..args.len()).step_by(2).map(|at| (&args[at], &args[at + 1])).collect();
    let caller = Caller { local: cx.session.is_local(), loading: cx.process.is_loading() };
    // Finish each change before the next one is checked.
    let _one = ONE_CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let changes = cx.process.config.set(&pairs, caller).map_err(config_error)?;
    carry_out(cx.process, &changes).map_err(config_error)?;
    cx.request = Some(Request::SettingsChanged(changes.follow_up()));
    Ok(())
}

fn config_error(error: ConfigError) -> Error {
    Error::other(error.to_string())
}

/// Applies the changed settings that take effect at once, in the order of the arguments. Reverts
/// all changes if one of them fails.
fn carry_out(process: &Process, changes: &Changes) -> Result<(), ConfigError> {
    let mut done: Vec<Applied> = Vec::new();
    let mut listening = None;
    for setting in &changes.changed {
        let result = match setting.on_change {
            OnChange::Listen(refusal) if listening.is_none() => {
                let prepared = match done.contains(&Applied::Tls) {
                    true => Ok(()),
                    false => prepare_tls(process, &changes.after, &mut done),
                };
                let listened = prepared.and_then(|()| listen(process, &changes.after, refusal));
                listened.map(|change| listening = Some((setting.name, change)))
            }
            OnChange::Apply(applied) if !done.contains(&applied) => {
                done.push(applied);
                apply(applied, process, &changes.after)
            }
            OnChange::Listen(_) | OnChange::Apply(_) => Ok(()),
            OnChange::ReadAtUse | OnChange::ShardsSettle | OnChange::Restart => Ok(()),
        };
        if let Err(reason) = result {
            return Err(take_back(process, changes, &done, setting.name, &reason));
        }
    }
    if let Some((name, change)) = listening
        && let Err(error) = change.commit()
    {
        return Err(take_back(process, changes, &done, name, &error.to_string()));
    }
    Ok(())
}

/// Loads the context of TLS before its port is listened on, and drops it when nothing needs it.
fn prepare_tls(process: &Process, config: &Config, done: &mut Vec<Applied>) -> Result<(), String> {
    if config.uses_tls() == process.tls.is_on() {
        return Ok(());
    }
    done.push(Applied::Tls);
    apply(Applied::Tls, process, config)
}

/// Opens the sockets that the settings require. Returns `refusal` if one cannot be opened.
fn listen<'p>(process: &'p Process, config: &Config, refusal: &str) -> Result<Change<'p>, String> {
    process.listeners.change(config).map_err(|ListenError { address, port, error, .. }| {
        process.log.warning(&format!(
            "Could not create server TCP listening socket {address}:{port}: {error}"
        ));
        refusal.to_string()
    })
}

/// Applies a setting to the process. Returns the reason if it fails.
fn apply(applied: Applied, process: &Process, config: &Config) -> Result<(), String> {
    match applied {
        Applied::Descriptors => return apply_maxclients(config),
        Applied::OomScore => return apply_oom_score(process, config),
        Applied::Tls => return apply_tls(process, config),
        // File names without a directory now refer to this directory.
        Applied::Directory => {
            return std::env::set_current_dir(&config.dir).map_err(|error| error.to_string());
        }
        Applied::Log => {
            process.log.set_level(Level::from_index(config.loglevel as usize));
            process.log.set_form(log_form(config));
        }
        Applied::Title if config.set_proc_title => title::set(|program| config.title(program)),
        Applied::Title => {}
        Applied::CrashLog => crash::set_enabled(config.crash_log_enabled),
        Applied::Watchdog => crash::watch_for(config.watchdog_period),
        Applied::Password => process.acl.set_default_password(&config.requirepass),
    }
    Ok(())
}

fn take_back(
    process: &Process,
    changes: &Changes,
    done: &[Applied],
    name: &str,
    reason: &str,
) -> ConfigError {
    process.log.warning(&format!(
        "Failed applying new configuration. Possibly related to new {name} setting. Restoring \
         previous settings."
    ));
    let error = process.config.restore(changes, name, reason);
    for applied in done {
        if let Err(why) = apply(*applied, process, &changes.before) {
            process.log.warning(&format!("Failed restoring a previous setting: {why}"));
        }
    }
    error
}

fn apply_maxclients(config: &Config) -> Result<(), String> {
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

/// Returns the log's layout and timestamp format from the settings.
pub fn log_form(config: &Config) -> LogForm {
    LogForm { layout: config.log_format as u8, time: config.log_timestamp_format as u8 }
}

fn apply_tls(process: &Process, config: &Config) -> Result<(), String> {
    if !config.uses_tls() {
        process.tls.clear();
        return Ok(());
    }
    match process.tls.configure(config, &process.clock) {
        Ok(hint) => hint.iter().for_each(|hint| process.log.warning(hint)),
        Err(why) => {
            process.log.warning(&why);
            return Err("Unable to update TLS configuration. Check server logs.".to_string());
        }
    }
    Ok(())
}

fn apply_oom_score(process: &Process, config: &Config) -> Result<(), String> {
    process.oom_score.apply(config).map_err(|error| {
        process.log.warning(&format!("Unable to write oom_score_adj: {error}"));
        "Failed to set current oom_score_adj. Check server logs.".to_string()
    })
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

/// Rewrites the config file with the current settings; with `in_full` it names all of them.
pub(super) fn rewrite_settings(process: &Process, in_full: bool) -> Result<(), Error> {
    let _one = ONE_CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = process.config.snapshot();
    let Some(path) = &config.config_file else {
        return Err(Error::other("ERR The server is running without a config file"));
    };
    // An ACL file has the users instead.
    let users: Vec<Vec<u8>> = match config.aclfile {
        Some(_) => Vec::new(),
        None => process.acl.list().iter().map(|user| user.line()).collect(),
    };
    match rewrite_file(path, (&config, &users), in_full) {
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
    use crate::config::FollowUp;

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
    fn set_applies_all_changes_or_none() {
        let mut bench = SessionBench::new();
        bench.check_script(
            r#"
            CONFIG SET maxmemory 1mb hz 20 => ?SettingsChanged(FollowUp {
                | shards_settle: true, listeners_change: false })
            CONFIG GET maxmemory => ["maxmemory" "1048576"]
            CONFIG SET maxmemory 2mb hz => -ERR syntax error
            CONFIG SET maxmemory 2mb foo bar => -ERR Unknown option or number of arguments for
                | CONFIG SET - 'foo'
            CONFIG SET maxmemory 1 maxmemory 2 => -ERR CONFIG SET failed (possibly related to
                | argument 'maxmemory') - duplicate parameter
            CONFIG SET databases 3 => -ERR CONFIG SET failed (possibly related to argument
                | 'databases') - can't set immutable config
            CONFIG GET maxmemory => ["maxmemory" "1048576"]
            CONFIG SET loglevel warning => ?SettingsChanged(FollowUp {
                | shards_settle: false, listeners_change: false })
            CONFIG RESETSTAT => ?ResetStatistics
            CONFIG SET maxmemory => -ERR wrong number of arguments for 'config|set' command
            "#,
        );
        assert!(bench.process.log.logs(Level::Warning) && !bench.process.log.logs(Level::Notice));
        let follow_up = format!("?SettingsChanged({:?})", FollowUp::default());
        bench.check_script(&format!("CONFIG SET loglevel nothing => {follow_up}"));
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
            CONFIG SET port 0 => ?SettingsChanged(FollowUp {{ shards_settle: false,
                | listeners_change: true }})
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
            CONFIG SET timeout 7 => ?SettingsChanged(FollowUp {
                | shards_settle: false, listeners_change: false })
            CONFIG REWRITE => OK
            ",
        );
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with("# mine\nhz 10\n"), "{text}");
        assert!(text.contains("# Generated by CONFIG REWRITE\ntimeout 7\n"), "{text}");
    }

    #[test]
    fn a_limit_of_clients_beyond_the_descriptors_is_refused() {
        let mut bench = SessionBench::new();
        let shown =
            show(&bench.run(&["CONFIG", "SET", "maxclients", "4000000000"]).expect("a reply"));
        let start = "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The \
                     operating system is not able to handle the specified number of clients, try";
        assert!(shown.starts_with(start), "{shown}");
        bench.check_script(r#"CONFIG GET maxclients => ["maxclients" "10000"]"#);
    }
}
