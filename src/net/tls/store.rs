//! The context of the process, which changes while connections use an earlier one.

use super::context::Context;
use crate::base::clock::Clock;
use crate::config::Config;
use arc_swap::ArcSwapOption;
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The TLS context of a process.
#[derive(Debug, Default)]
pub struct Tls {
    context: ArcSwapOption<Context>,
    /// The files as they were when the context was loaded.
    files: Mutex<Prints>,
    /// Monotonic milliseconds of the last load or check.
    checked_ms: AtomicU64,
    is_checking: AtomicBool,
}

/// What a check of the files has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// They have not changed.
    Unchanged,
    /// They have changed, and new connections use them.
    Done,
    /// They have changed and cannot be used, for this reason. Nothing has changed.
    Failed(String),
}

/// What tells files from their later versions. Certificates are compared by content; keys and
/// folders by number and time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Prints {
    certificates: [Option<[u8; 32]>; 3],
    others: [Option<(u64, i64, i64)>; 3],
}

impl Prints {
    fn take(config: &Config) -> Prints {
        let content = |path: &Option<PathBuf>| {
            let bytes = std::fs::read(path.as_ref()?).ok()?;
            Some(Sha256::digest(bytes).into())
        };
        let place = |path: &Option<PathBuf>| {
            let data = std::fs::metadata(Path::new(path.as_ref()?)).ok()?;
            Some((data.ino(), data.mtime(), data.mtime_nsec()))
        };
        Prints {
            certificates: [
                content(&config.tls_cert_file),
                content(&config.tls_client_cert_file),
                content(&config.tls_ca_cert_file),
            ],
            others: [
                place(&config.tls_key_file),
                place(&config.tls_client_key_file),
                place(&config.tls_ca_cert_dir),
            ],
        }
    }
}

impl Tls {
    /// Returns the context of new connections; none if TLS is off.
    pub fn context(&self) -> Option<Arc<Context>> {
        self.context.load_full()
    }

    /// Returns whether a context is loaded.
    pub fn is_on(&self) -> bool {
        self.context.load().is_some()
    }

    /// Loads the context that the settings describe. Returns what the operator should know although
    /// it is no error.
    ///
    /// # Errors
    /// The reason, as a line for the log. Nothing has changed then.
    pub fn configure(
        &self,
        config: &Config,
        clock: &Clock,
    ) -> Result<Option<&'static str>, String> {
        let mut files = self.lock();
        let context = Context::load(config, clock)?;
        let hint = context.hint;
        *files = Prints::take(config);
        self.context.store(Some(Arc::new(context)));
        self.note_check(clock);
        Ok(hint)
    }

    /// Turns TLS off for new connections.
    pub fn clear(&self) {
        let mut files = self.lock();
        *files = Prints::default();
        self.context.store(None);
    }

    /// Returns whether the files have to be checked, because `interval_s` seconds have passed. The
    /// caller must check them then.
    pub fn is_check_due(&self, interval_s: u32, clock: &Clock) -> bool {
        let now_ms = clock.monotonic_ns() / 1_000_000;
        let passed_ms = now_ms.saturating_sub(self.checked_ms.load(Ordering::Relaxed));
        let is_due = passed_ms >= u64::from(interval_s) * 1_000;
        interval_s > 0 && is_due && self.is_on() && !self.is_checking.swap(true, Ordering::Relaxed)
    }

    /// Puts a check off until the next time, because it cannot be made.
    pub fn skip_check(&self) {
        self.is_checking.store(false, Ordering::Relaxed);
    }

    /// Loads the context anew if the files have changed. It reads files, so it runs on a thread of
    /// its own.
    pub fn check(&self, config: &Config, clock: &Clock) -> Reload {
        let found = self.reload(config, clock);
        self.note_check(clock);
        self.is_checking.store(false, Ordering::Relaxed);
        found
    }

    fn reload(&self, config: &Config, clock: &Clock) -> Reload {
        let mut files = self.lock();
        let now = Prints::take(config);
        if *files == now || !self.is_on() {
            return Reload::Unchanged;
        }
        match Context::load(config, clock) {
            Ok(context) => {
                *files = now;
                self.context.store(Some(Arc::new(context)));
                Reload::Done
            }
            Err(why) => Reload::Failed(why),
        }
    }

    fn note_check(&self, clock: &Clock) {
        self.checked_ms.store(clock.monotonic_ns() / 1_000_000, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Prints> {
        // They are replaced as a whole.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
