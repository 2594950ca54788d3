//! SIGTERM and SIGINT shut the process down in order.

use crate::config::Config;
use crate::exec::{AofMode, Process, Shutdown};
use crate::mesh::Mesh;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;

/// Starts the thread that waits for signals.
pub(super) fn stop_on_signals(process: Arc<Process>, mesh: Arc<Mesh>) -> Result<(), String> {
    let signals = Signals::new([SIGTERM, SIGINT]);
    let mut signals =
        signals.map_err(|error| format!("Cannot install a signal handler: {error}"))?;
    let life = move || {
        for signal in signals.forever() {
            heed(signal, &process);
            mesh.ring_all();
        }
    };
    let spawned = std::thread::Builder::new().name("signals".to_string()).spawn(life);
    spawned.map(drop).map_err(|error| format!("Cannot start a thread for signals: {error}"))
}

fn heed(signal: i32, process: &Process) {
    let (why, name) = match signal {
        SIGINT => (Shutdown::Interrupt, "SIGINT"),
        _ => (Shutdown::Terminate, "SIGTERM"),
    };
    let config = process.config.snapshot();
    // A second Ctrl+C exits at once.
    if signal == SIGINT && process.is_stop_pending() {
        process.log.warning("You insist... exiting now.");
        let draft = config.dir.join(format!("temp-{}.rdb", std::process::id()));
        // The file exists only while a snapshot is being written.
        let _ = std::fs::remove_file(draft);
        std::process::exit(1);
    }
    process.log.warning(&match process.is_loading() {
        true => "Received shutdown signal during loading, scheduling shutdown.".to_string(),
        false => format!("Received {name} scheduling shutdown..."),
    });
    process.log.notice("User requested shutdown...");
    let flags = flags_of(signal, &config);
    if flags.saves {
        process.stop_saving(why, flags.is_forced);
    } else if process.aof.facts().mode != AofMode::Off {
        process.stop_unsaved(why, flags.is_forced);
    } else {
        process.stop(why);
    }
}

/// The flags of SHUTDOWN that a signal implies.
#[derive(Debug, PartialEq, Eq)]
struct Flags {
    saves: bool,
    is_forced: bool,
}

fn flags_of(signal: i32, config: &Config) -> Flags {
    let flags = match signal {
        SIGINT => &config.shutdown_on_sigint,
        _ => &config.shutdown_on_sigterm,
    };
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let saves = !has("nosave") && (has("save") || !config.save.is_empty());
    Flags { saves, is_forced: has("force") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_define_the_flags_of_a_signal() {
        let mut config = Config::default();
        let saves = |saves, is_forced| Flags { saves, is_forced };
        assert_eq!(flags_of(SIGTERM, &config), saves(true, false));
        config.shutdown_on_sigterm = vec!["nosave".to_string(), "force".to_string()];
        assert_eq!(flags_of(SIGTERM, &config), saves(false, true));
        config.save.clear();
        assert_eq!(flags_of(SIGINT, &config), saves(false, false));
        config.shutdown_on_sigint = vec!["save".to_string()];
        assert_eq!(flags_of(SIGINT, &config), saves(true, false));
    }
}
