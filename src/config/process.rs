//! Settings of the process: its place in the system, and what it lets administrators do.

use super::card::{Kind, Setting, any_text, field};
use super::{Permission, Supervised};

/// `hz` is kept within these bounds, whatever it is set to.
pub(super) const HZ_MIN: u32 = 1;
/// See [`HZ_MIN`].
pub(super) const HZ_MAX: u32 = 500;

/// The names that `proc-title-template` may hold in braces.
pub const TITLE_WORDS: &[&str] =
    &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

const PERMISSION: Kind = Kind::Choice(Permission::WORDS);

/// The cards.
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
    ),
    Setting::new("enable-protected-configs", PERMISSION, "no", field!(enable_protected_configs))
        .immutable(),
    Setting::new("enable-debug-command", PERMISSION, "no", field!(enable_debug_command))
        .immutable(),
    Setting::new("enable-module-command", PERMISSION, "no", field!(enable_module_command))
        .immutable(),
    Setting::new(
        "extended-redis-compatibility",
        Kind::Bool,
        "no",
        field!(extended_redis_compatibility),
    ),
];

fn read_title_template(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "template format is invalid or contains unknown variables";
    let mut rest = std::str::from_utf8(text).map_err(|_| WRONG)?;
    if rest.trim().is_empty() {
        return Err(WRONG);
    }
    while let Some((_, after)) = rest.split_once('{') {
        // Two braces stand for one.
        if let Some(after) = after.strip_prefix('{') {
            rest = after;
            continue;
        }
        let (word, after) = after.split_once('}').ok_or(WRONG)?;
        if !TITLE_WORDS.contains(&word) {
            return Err(WRONG);
        }
        rest = after;
    }
    any_text(text)
}
