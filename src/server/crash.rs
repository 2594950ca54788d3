//! The log's report of a crash, or of a shard that has not finished a turn for too long.

use crate::base::crash::{self, Cause, Report};
use crate::base::system::system_name;
use crate::commands::info_text;
use crate::config::VERSION;
use crate::exec::Process;
use std::fmt::Write;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};

/// Lower bound of the watchdog's time in milliseconds: a sleeping shard wakes up ten times a
/// second.
const STUCK_MS_MIN: u32 = 200;

static PROCESS: OnceLock<Arc<Process>> = OnceLock::new();

/// Makes crashes and panics of this process appear in its log.
pub(super) fn report_crashes(process: &Arc<Process>) -> io::Result<()> {
    let told = PROCESS.get_or_init(|| Arc::clone(process));
    let mut pulses = Pulses::default();
    let report = move |report: &Report| {
        told.log.raw(&text(report, told));
        let config = told.config.snapshot();
        // Otherwise the pid file of a crashed background server would suggest that it still runs.
        if let Some(path) = &config.pidfile
            && config.daemonize
            && !goes_on(&report.cause)
        {
            let _ = std::fs::remove_file(path);
        }
    };
    let watch = move |ms: u32| pulses.is_one_missing(told, ms.max(STUCK_MS_MIN));
    crash::start(Box::new(report), Box::new(watch))?;
    let config = process.config.snapshot();
    crash::set_enabled(config.crash_log_enabled);
    crash::watch_for(config.watchdog_period);
    panic::set_hook(Box::new(on_panic));
    Ok(())
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let Some(process) = PROCESS.get() else { return };
    let place = info.location().map_or("?".to_string(), |place| place.to_string());
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = text.unwrap_or("a panic without a message").replace('\n', " ");
    process.log.warning("=== ASSERTION FAILED ===");
    process.log.warning(&format!("==> {place} '{what}'"));
    let config = process.config.snapshot();
    if config.crash_log_enabled {
        crash::report_panic();
    }
    if config.use_exit_on_panic {
        std::process::exit(1);
    }
}

/// Whether the process continues after the report.
fn goes_on(cause: &Cause) -> bool {
    matches!(cause, Cause::Alarm | Cause::Stuck)
}

/// Formats the report for the log.
fn text(report: &Report, process: &Process) -> String {
    let pid = std::process::id();
    let goes_on = goes_on(&report.cause);
    let mut text = String::new();
    if !goes_on {
        let head = "=== ANNULET BUG REPORT START: Cut & paste starting from here ===";
        let _ = writeln!(text, "\n\n{head}");
    }
    let _ = match &report.cause {
        Cause::Signal { number, code, address, sender } => {
            let _ = writeln!(
                text,
                "{pid}: Annulet {VERSION} crashed by signal: {number}, si_code: {code}"
            );
            match sender {
                Some(sender) => writeln!(text, "{pid}: Killed by PID: {sender}"),
                None => writeln!(text, "{pid}: Accessing address: {address:#x}"),
            }
        }
        Cause::Panic => writeln!(text, "{pid}: Annulet {VERSION} has panicked, see above"),
        Cause::Alarm => writeln!(text, "\n--- WATCHDOG: Received SIGALRM ---"),
        Cause::Stuck => writeln!(text, "\n--- WATCHDOG TIMER EXPIRED ---"),
    };
    text.push_str("\n------ STACK TRACE ------\n");
    for stack in &report.stacks {
        let _ = writeln!(text, "\n{} {}:", stack.thread, stack.name);
        for (number, frame) in stack.frames.iter().enumerate() {
            let _ = writeln!(text, "  {number:3}: {frame}");
        }
    }
    text.push_str("\n------ STACK TRACE DONE ------\n");
    if goes_on {
        text.push_str("--------\n");
        return text;
    }
    if !report.registers.is_empty() {
        text.push_str("\n------ REGISTERS ------\n");
        for (name, value) in &report.registers {
            let _ = writeln!(text, "{name:3} {value:016x}");
        }
    }
    text.push_str("\n------ INFO OUTPUT ------\n");
    let _ = writeln!(
        text,
        "{}\n{}",
        info_text(process, process.clock.unix_us(), false).replace('\r', ""),
        system_name()
    );
    text.push_str("\n=== ANNULET BUG REPORT END. Make sure to include from START to END. ===\n\n");
    text
}

/// When the watchdog last saw each shard finish a turn.
#[derive(Default)]
struct Pulses {
    shards: Vec<Pulse>,
}

#[derive(Clone, Copy, Default)]
struct Pulse {
    turns: u64,
    seen_ms: u64,
    is_told: bool,
}

impl Pulses {
    /// Returns whether a shard has not turned for `ms` milliseconds; each such pause is reported
    /// once.
    fn is_one_missing(&mut self, process: &Process, ms: u32) -> bool {
        let now_ms = process.clock.monotonic_ns() / 1_000_000;
        self.shards.resize(process.shards(), Pulse { seen_ms: now_ms, ..Pulse::default() });
        let mut is_missing = false;
        for (pulse, board) in self.shards.iter_mut().zip(process.boards.iter()) {
            let turns = board.counters.turns.get() + board.counters.parks.get();
            if turns != pulse.turns {
                *pulse = Pulse { turns, seen_ms: now_ms, is_told: false };
            } else if now_ms - pulse.seen_ms >= u64::from(ms) {
                is_missing |= !std::mem::replace(&mut pulse.is_told, true);
            }
        }
        is_missing
    }
}
