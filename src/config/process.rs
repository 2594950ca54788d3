//! Settings of the process: its place in the system, and the rights of administrators.

use super::card::{Applied, Field, Kind, Setting, Value, any_text, field};
use super::number::parse_loose;
use super::{Config, OomScoreAdj, Permission, Supervised};
use std::path::PathBuf;

/// Lower bound to which `hz` is clamped.
pub(super) const HZ_MIN: u32 = 1;
/// Upper bound to which `hz` is clamped.
pub(super) const HZ_MAX: u32 = 500;

/// The names that `proc-title-template` may have in braces.
pub const TITLE_WORDS: &[&str] =
    &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

const PERMISSION: Kind = Kind::Choice(Permission::WORDS);

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("databases", Kind::Int(1, i32::MAX as i128), "16", field!(databases)).immutable(),
    Setting::new("hz", Kind::Int(0, i32::MAX as i128), "10", field!(hz)),
    Setting::new("daemonize", Kind::Bool, "no", field!(daemonize)).immutable(),
    Setting::new("pidfile", Kind::Text(any_text), "", field!(pidfile)).immutable(),
    Setting::new("supervised", Kind::Choice(Supervised::WORDS), "no", field!(supervised))
        .immutable(),
    Setting::new("set-proc-title", Kind::Bool, "yes", field!(set_proc_title)).immutable(),
    Setting::new(
        "proc-title-template",
        Kind::Text(read_title_template),
        "{title} {listen-addr} {server-mode}",
        field!(proc_title_template),
    )
    .apply(Applied::Title),
    Setting::new("enable-protected-configs", PERMISSION, "no", field!(enable_protected_configs))
        .immutable(),
    Setting::new("enable-debug-command", PERMISSION, "no", field!(enable_debug_command))
        .immutable(),
    Setting::new("enable-module-command", PERMISSION, "no", field!(enable_module_command))
        .idle("there are no modules")
        .immutable(),
    Setting::new(
        "extended-redis-compatibility",
        Kind::Bool,
        "no",
        field!(extended_redis_compatibility),
    ),
    Setting::new("oom-score-adj", Kind::Choice(OomScoreAdj::WORDS), "no", field!(oom_score_adj))
        .apply(Applied::OomScore),
    Setting::new(
        "oom-score-adj-values",
        Kind::Words(read_oom_values),
        "0 200 800",
        field!(oom_score_adj_values),
    )
    .apply(Applied::OomScore),
    Setting::new("crash-log-enabled", Kind::Bool, "yes", field!(crash_log_enabled))
        .apply(Applied::CrashLog),
    Setting::new("use-exit-on-panic", Kind::Bool, "no", field!(use_exit_on_panic)).hidden(),
    Setting::new("watchdog-period", Kind::Int(0, i32::MAX as i128), "0", field!(watchdog_period))
        .apply(Applied::Watchdog)
        .hidden(),
    Setting::new(
        "shutdown-on-sigint",
        Kind::Words(read_shutdown_flags),
        "default",
        field!(shutdown_on_sigint),
    ),
    Setting::new(
        "shutdown-on-sigterm",
        Kind::Words(read_shutdown_flags),
        "default",
        field!(shutdown_on_sigterm),
    ),
    Setting::new("server-cpulist", Kind::Text(any_text), "", field!(server_cpulist))
        .alias("server_cpulist")
        .immutable(),
    Setting::new("bgsave-cpulist", Kind::Text(any_text), "", field!(bgsave_cpulist))
        .alias("bgsave_cpulist")
        .immutable(),
    Setting::new("aof-rewrite-cpulist", Kind::Text(any_text), "", field!(aof_rewrite_cpulist))
        .alias("aof_rewrite_cpulist")
        .immutable(),
    Setting::new("bio-cpulist", Kind::Text(any_text), "", field!(bio_cpulist))
        .alias("bio_cpulist")
        .immutable(),
];

/// The scores of `oom-score-adj-values`: of a primary, of a replica, of a child process.
pub type OomScoreValues = [i32; 3];

impl Field for OomScoreValues {
    fn value(&self) -> Value {
        Value::Words(self.iter().map(|number| number.to_string().into_bytes()).collect())
    }

    fn assign(&mut self, value: Value) {
        let Value::Words(args) = value else { panic!("{value:?} are not arguments") };
        assert_eq!(args.len(), self.len(), "the card fixes their number");
        for (to, word) in self.iter_mut().zip(&args) {
            *to = parse_loose(word, 10).expect("the card takes numbers") as i32;
        }
    }
}

fn read_title_template(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "template format is invalid or contains unknown variables";
    let template = std::str::from_utf8(text).map_err(|_| WRONG)?;
    // Without values, only the address and the mode are not empty.
    let value = |word: &str| match word {
        "title" | "server-mode" | "unixsocket" | "config-file" => String::new(),
        word => word.to_string(),
    };
    match expand(template, &value) {
        Some(title) if !title.is_empty() => any_text(text),
        _ => Err(WRONG),
    }
}

/// Replaces the names in braces of a template and trims the result. Returns `None` if a name is not
/// one of [`TITLE_WORDS`].
fn expand(template: &str, value: &dyn Fn(&str) -> String) -> Option<String> {
    let mut title = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        title.push_str(before);
        // Two braces stand for a literal one.
        if let Some(after) = after.strip_prefix('{') {
            title.push('{');
            rest = after;
            continue;
        }
        let (word, after) = after.split_once('}')?;
        if !TITLE_WORDS.contains(&word) {
            return None;
        }
        title.push_str(&value(word));
        rest = after;
    }
    title.push_str(rest);
    Some(title.trim_matches(' ').to_string())
}

impl Config {
    /// Returns the process's title, from `proc-title-template`.
    pub fn title(&self, program: &str) -> String {
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map_or(String::new(), |path| path.display().to_string())
        };
        let value = |word: &str| match word {
            "title" => program.to_string(),
            "listen-addr" if self.shown_port() == 0 => path(&self.unixsocket),
            "listen-addr" => {
                let address = self.bind.first().map_or("*", String::as_str);
                format!("{address}:{}", self.shown_port())
            }
            "port" => self.port.to_string(),
            "tls-port" => self.tls_port.to_string(),
            "unixsocket" => path(&self.unixsocket),
            "config-file" => path(&self.config_file),
            "server-mode" if self.cluster_enabled => "[cluster]".to_string(),
            // The usual mode has no name in the title.
            _ => String::new(),
        };
        expand(&self.proc_title_template, &value).expect("the card has checked it")
    }
}

fn read_oom_values(args: &[&[u8]], _: &Value) -> Result<Value, String> {
    if args.len() != 3 {
        return Err("wrong number of arguments".to_owned());
    }
    let read = |word: &&[u8]| {
        let number = parse_loose(word, 10).filter(|number| (-2_000..=2_000).contains(number));
        number.map(|number| number.to_string().into_bytes())
    };
    let numbers: Option<Vec<Vec<u8>>> = args.iter().map(read).collect();
    numbers.map(Value::Words).ok_or_else(|| {
        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.".to_owned()
    })
}

/// The flags in the order in which they are shown.
const SHUTDOWN_FLAGS: &[&str] = &["default", "save", "nosave", "now", "force", "safe", "failover"];

fn read_shutdown_flags(args: &[&[u8]], _: &Value) -> Result<Value, String> {
    let named = |flag: &&str| args.iter().any(|w| w.eq_ignore_ascii_case(flag.as_bytes()));
    let known =
        |word: &&[u8]| SHUTDOWN_FLAGS.iter().any(|flag| word.eq_ignore_ascii_case(flag.as_bytes()));
    if args.is_empty() || !args.iter().all(known) {
        let flags = SHUTDOWN_FLAGS.join(", ");
        return Err(format!("argument(s) must be one of the following: {flags}"));
    }
    if named(&"save") && named(&"nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
    }
    // `default` adds nothing to other flags.
    let (default, flags) = SHUTDOWN_FLAGS.split_first().expect("there are flags");
    let mut shown: Vec<Vec<u8>> =
        flags.iter().filter(|flag| named(flag)).map(|flag| flag.as_bytes().to_vec()).collect();
    if shown.is_empty() {
        shown.push(default.as_bytes().to_vec());
    }
    Ok(Value::Words(shown))
}
