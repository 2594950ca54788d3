//! The published snapshot, and CONFIG GET and SET on it.

use super::card::words_of_text;
use super::{Config, Named, OnChange, Setting, find, settings};
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Publishes one [`Config`] after another. Readers never wait.
#[derive(Debug)]
pub struct ConfigCell {
    now: ArcSwap<Config>,
    version: AtomicU64,
    writer: Mutex<()>,
}

/// The properties of the caller that decide whether it may change a setting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// Whether the connection is from this machine.
    pub local: bool,
    /// Whether a data set is being loaded.
    pub loading: bool,
}

/// What a CONFIG SET has changed. The caller carries out what the changed settings take, and passes
/// this to [`ConfigCell::restore`] if it cannot.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The settings that have another value than before, or are volatile, in the order given.
    pub changed: Vec<&'static Setting>,
    /// The settings before.
    pub before: Arc<Config>,
    /// The settings after the change.
    pub after: Arc<Config>,
}

impl Changes {
    /// Returns what the shards must do before CONFIG SET replies.
    pub fn follow_up(&self) -> FollowUp {
        let has = |is_it: fn(OnChange) -> bool| self.changed.iter().any(|it| is_it(it.on_change));
        FollowUp {
            shards_settle: has(|on_change| on_change == OnChange::ShardsSettle),
            listeners_change: has(|on_change| matches!(on_change, OnChange::Listen(_))),
        }
    }
}

/// What all shards do for a change of settings, besides taking the new snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowUp {
    /// They bring up to date what they derive from settings.
    pub shards_settle: bool,
    /// The shard that accepts connections opens and closes the sockets that it was ordered to.
    pub listeners_change: bool,
}

/// Why CONFIG SET has changed nothing. Its text is what follows the `-` of the error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No setting has this name.
    Unknown(String),
    /// The setting does not take the value, or cannot change.
    Refused {
        /// The setting's name as the client wrote it.
        name: String,
        /// What is wrong, or empty.
        reason: String,
    },
    /// The setting is fixed while a data set is being loaded.
    Loading,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unknown(name) => {
                let name = one_line(name);
                write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            ConfigError::Refused { name, reason } => {
                let name = one_line(name);
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}')")?;
                if reason.is_empty() { Ok(()) } else { write!(f, " - {}", one_line(reason)) }
            }
            ConfigError::Loading => {
                write!(f, "LOADING Valkey is loading the dataset in memory")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Makes the text of an error reply one line. As in the reference, quoted text ends at its first
/// NUL.
fn one_line(text: &str) -> String {
    text.split('\0').next().unwrap_or_default().replace(['\r', '\n'], " ")
}

fn refused(name: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Refused { name: name.to_owned(), reason: reason.into() }
}

impl ConfigCell {
    /// Publishes `config` as version 1.
    pub fn new(config: Config) -> ConfigCell {
        ConfigCell {
            now: ArcSwap::from_pointee(config),
            version: AtomicU64::new(1),
            writer: Mutex::new(()),
        }
    }

    /// Returns the version of the published snapshot; it grows with each one. A shard that sees a
    /// new version takes a new [`ConfigCell::snapshot`].
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns the current settings.
    pub fn snapshot(&self) -> Arc<Config> {
        self.now.load_full()
    }

    /// CONFIG GET with a pattern: returns the settings and aliases whose lower-case name `matches`,
    /// sorted by name.
    pub fn get(&self, matches: &dyn Fn(&str) -> bool) -> Vec<(&'static str, Vec<u8>)> {
        let config = self.now.load();
        let visible = settings().filter(|setting| !setting.hidden);
        let names = visible.flat_map(|s| [(s, s.name), (s, s.alias)]);
        let wanted = names.filter(|(_, name)| !name.is_empty() && matches(name));
        let mut found: Vec<_> = wanted.map(|(s, name)| (name, s.text(&config))).collect();
        found.sort_unstable();
        found
    }

    /// CONFIG GET with a name that has no `*`, `?` or `[`. The name matches in any case, and finds
    /// hidden settings too. The reply repeats the name as the client wrote it.
    pub fn get_exact(&self, name: &[u8]) -> Option<Vec<u8>> {
        find(name).map(|named| named.setting.text(&self.now.load()))
    }

    /// CONFIG SET: sets all pairs, or none and returns the reason.
    pub fn set(&self, pairs: &[(&[u8], &[u8])], caller: Caller) -> Result<Changes, ConfigError> {
        let _writer = self.lock();
        let before = self.snapshot();
        let mut after = Config::clone(&before);
        let named = check_names(pairs, caller, &before)?;
        for (named, (_, text)) in named.iter().zip(pairs) {
            let args = words_of_text(named.setting.kind, text);
            let result = named.setting.set(&mut after, &args);
            result.map_err(|reason| refused(named.name, reason))?;
        }
        after.settle();
        let differs = |setting: &&Setting| {
            setting.is_volatile || setting.value(&before) != setting.value(&after)
        };
        let changed = named.iter().map(|named| named.setting).filter(differs).collect();
        let after = Arc::new(after);
        self.publish(after.clone());
        Ok(Changes { changed, before, after })
    }

    /// Reverts the changes of a `set`, and no other change since, because the caller could not
    /// apply them. `name` and `reason` make the error for the client.
    pub fn restore(&self, changes: &Changes, name: &str, reason: &str) -> ConfigError {
        let _writer = self.lock();
        let mut config = Config::clone(&self.snapshot());
        for setting in &changes.changed {
            setting.assign(&mut config, setting.value(&changes.before));
        }
        self.publish(Arc::new(config));
        refused(name, reason)
    }

    fn publish(&self, config: Arc<Config>) {
        self.now.store(config);
        // After the snapshot, so that a reader of the new version finds at least that snapshot.
        self.version.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // A writer that panicked has published nothing.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the settings of the pairs; returns the first error.
fn check_names(
    pairs: &[(&[u8], &[u8])],
    caller: Caller,
    now: &Config,
) -> Result<Vec<Named>, ConfigError> {
    let mut found: Vec<Named> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let text = String::from_utf8_lossy(name);
        let named = find(name).ok_or_else(|| ConfigError::Unknown(text.clone().into_owned()))?;
        let setting = named.setting;
        let repeats = || setting.may_repeat && setting.text(now) == *value;
        if setting.is_immutable() && !repeats() {
            return Err(refused(&text, "can't set immutable config"));
        }
        if setting.protected && !now.enable_protected_configs.allows(caller.local) {
            return Err(refused(&text, "can't set protected config"));
        }
        if setting.not_while_loading && caller.loading {
            return Err(ConfigError::Loading);
        }
        if found.iter().any(|other| other.name == named.name) {
            return Err(refused(&text, "duplicate parameter"));
        }
        found.push(named);
    }
    Ok(found)
}
