//! The scripts that run for long: who may end them, and when they make the server busy.
//!
//! A script is listed when it has run longer than one slice. After `busy-reply-threshold`, all
//! shards refuse commands that are not marked with [`crate::spec::Flag::ALLOW_BUSY`], as a single
//! Redis would.

use crate::resp::Error;
use crate::script::sha1_digits;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A script that runs for long.
#[derive(Debug)]
pub struct RunningScript {
    /// Monotonic milliseconds of its start.
    pub started_ms: u64,
    /// Name of the function; none for EVAL.
    pub function: Option<String>,
    /// The command that has called it, for FUNCTION STATS.
    pub args: Vec<Box<[u8]>>,
    /// Whether it has run a command that may write. Then it cannot be killed.
    has_written: AtomicBool,
    is_killed: AtomicBool,
    /// Whether the log names it as slow.
    is_named: AtomicBool,
}

impl RunningScript {
    /// Creates the record of a script.
    pub fn new(started_ms: u64, function: Option<String>, args: Vec<Box<[u8]>>) -> RunningScript {
        RunningScript {
            started_ms,
            function,
            args,
            has_written: AtomicBool::new(false),
            is_killed: AtomicBool::new(false),
            is_named: AtomicBool::new(false),
        }
    }

    /// Returns the line of the log about a slow script.
    fn slow_line(&self, now_ms: u64) -> String {
        let is_digest =
            self.args.first().is_some_and(|it| it.to_ascii_lowercase().starts_with(b"evalsha"));
        let text = self.args.get(1).map_or(&b""[..], |arg| arg);
        let (kill, name) = match &self.function {
            Some(name) => ("FUNCTION KILL", name.clone()),
            None if is_digest => ("SCRIPT KILL", String::from_utf8_lossy(text).to_lowercase()),
            None => ("SCRIPT KILL", sha1_digits(text)),
        };
        let elapsed_ms = now_ms.saturating_sub(self.started_ms);
        format!(
            "Slow script detected: still in execution after {elapsed_ms} milliseconds. You can try \
             killing the script using the {kill} command. Script name is: {name}."
        )
    }

    /// Records that it has run a command that may write.
    pub fn note_write(&self) {
        self.has_written.store(true, Ordering::SeqCst);
    }

    /// Returns whether it must end.
    pub fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::SeqCst)
    }
}

/// All scripts that run for long. There is at most one per client.
#[derive(Debug, Default)]
pub struct RunningScripts {
    list: Mutex<Vec<Arc<RunningScript>>>,
    /// Monotonic milliseconds of the start of the oldest one; 0: none.
    oldest_ms: AtomicU64,
}

impl RunningScripts {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<RunningScript>>> {
        // Plain data: each change is complete before a panic is possible.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, list: &[Arc<RunningScript>]) {
        let oldest_ms = list.iter().map(|script| script.started_ms.max(1)).min().unwrap_or(0);
        self.oldest_ms.store(oldest_ms, Ordering::SeqCst);
    }

    /// Lists a script.
    pub fn add(&self, script: &Arc<RunningScript>) {
        let mut list = self.lock();
        list.push(Arc::clone(script));
        self.publish(&list);
    }

    /// Removes a script that has ended.
    pub fn remove(&self, script: &Arc<RunningScript>) {
        let mut list = self.lock();
        list.retain(|other| !Arc::ptr_eq(other, script));
        self.publish(&list);
    }

    /// Returns whether a script has run for more than `threshold_ms`. 0 means that none ever has.
    #[inline]
    pub fn are_busy(&self, now_ms: u64, threshold_ms: u64) -> bool {
        let oldest_ms = self.oldest_ms.load(Ordering::Relaxed);
        oldest_ms > 0 && threshold_ms > 0 && now_ms.saturating_sub(oldest_ms) > threshold_ms
    }

    /// Returns the lines of the log about the scripts that have run for more than `threshold_ms`,
    /// each once.
    pub fn slow_lines(&self, now_ms: u64, threshold_ms: u64) -> Vec<String> {
        let is_slow = |script: &&Arc<RunningScript>| {
            now_ms.saturating_sub(script.started_ms) > threshold_ms
                && !script.is_named.swap(true, Ordering::Relaxed)
        };
        self.lock().iter().filter(is_slow).map(|script| script.slow_line(now_ms)).collect()
    }

    /// Returns the script that has run longest.
    pub fn oldest(&self) -> Option<Arc<RunningScript>> {
        self.lock().iter().min_by_key(|script| script.started_ms).map(Arc::clone)
    }

    /// Ends the scripts of EVAL, or functions. Returns an error if there is none, or if all of them
    /// have written.
    pub fn kill(&self, functions: bool) -> Result<(), Error> {
        let list = self.lock();
        if list.is_empty() {
            return Err(Error::other("NOTBUSY No scripts in execution right now."));
        }
        let is_meant = |script: &&Arc<RunningScript>| script.function.is_some() == functions;
        let meant: Vec<_> = list.iter().filter(is_meant).collect();
        if meant.is_empty() {
            return Err(if functions { Error::BusyScript } else { Error::BusyFunction });
        }
        let may_end = |script: &&&Arc<RunningScript>| !script.has_written.load(Ordering::SeqCst);
        if !meant.iter().filter(may_end).any(|_| true) {
            return Err(Error::other(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. \
                 You can either wait the script termination or kill the server in a hard way using \
                 the SHUTDOWN NOSAVE command.",
            ));
        }
        for script in meant.iter().filter(may_end) {
            script.is_killed.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Returns the error for commands that must not run while scripts make the server busy.
    pub fn busy_error(&self) -> Error {
        match self.oldest() {
            Some(script) if script.function.is_some() => Error::BusyFunction,
            _ => Error::BusyScript,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(function: Option<&str>, started_ms: u64) -> Arc<RunningScript> {
        Arc::new(RunningScript::new(started_ms, function.map(str::to_string), Vec::new()))
    }

    #[test]
    fn the_oldest_script_makes_the_server_busy() {
        let scripts = RunningScripts::default();
        assert!(!scripts.are_busy(10_000, 5_000));
        let (first, second) = (script(None, 1_000), script(None, 7_000));
        scripts.add(&second);
        scripts.add(&first);
        assert!(scripts.are_busy(6_001, 5_000) && !scripts.are_busy(6_000, 5_000));
        let line = "Slow script detected: still in execution after 5001 milliseconds. You can try \
            killing the script using the SCRIPT KILL command. Script name is: \
            da39a3ee5e6b4b0d3255bfef95601890afd80709.";
        assert_eq!(scripts.slow_lines(6_001, 5_000), [line]);
        assert!(scripts.slow_lines(6_002, 5_000).is_empty(), "a script is named once");
        assert!(!scripts.are_busy(60_000, 0), "0 turns the threshold off");
        scripts.remove(&first);
        assert!(!scripts.are_busy(6_001, 5_000));
        scripts.remove(&second);
        assert!(!scripts.are_busy(60_000, 5_000));
    }

    #[test]
    fn a_script_that_has_written_cannot_be_killed() {
        let scripts = RunningScripts::default();
        assert!(scripts.kill(false).is_err_and(|error| error.code() == "NOTBUSY"));
        let (reader, writer) = (script(None, 1), script(None, 2));
        writer.note_write();
        scripts.add(&writer);
        assert!(scripts.kill(false).is_err_and(|error| error.code() == "UNKILLABLE"));
        assert_eq!(scripts.kill(true), Err(Error::BusyScript));
        scripts.add(&reader);
        assert_eq!(scripts.kill(false), Ok(()));
        assert!(reader.is_killed());
    }
}
