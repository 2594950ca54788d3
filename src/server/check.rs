//! `--check-system`: checks whether this machine's settings suit the server.

use crate::base::thread::allowed_cores;
use crate::io::{self, Options, Preference};
use std::fs;

/// The default backlog of a listening socket.
const BACKLOG: u64 = 511;

/// The name of a check, and its warning if it failed.
struct Check {
    name: &'static str,
    warning: Option<String>,
}

/// Returns the results as text, and whether all checks passed.
pub(super) fn check_system() -> (String, bool) {
    let checks = [check_ring(), check_backlog(), check_clock(), check_cores()];
    let mut text = String::new();
    for Check { name, warning } in &checks {
        text += &match warning {
            None => format!("[{name}]...OK\n"),
            Some(why) => format!("[{name}]...WARNING:\n{why}\n"),
        };
    }
    (text, checks.iter().all(|check| check.warning.is_none()))
}

fn check_ring() -> Check {
    let warning = match io::open(Preference::Uring, &Options::default()) {
        Ok(_) => None,
        Err(error) => Some(format!("io_uring is not available, epoll is used instead: {error}")),
    };
    Check { name: "io-uring", warning }
}

fn check_backlog() -> Check {
    let path = "/proc/sys/net/core/somaxconn";
    let somaxconn = number_in(path).filter(|somaxconn| *somaxconn < BACKLOG);
    let warning = somaxconn.map(|somaxconn| {
        format!(
            "The TCP backlog setting of {BACKLOG} cannot be enforced because {path} is set to the \
             lower value of {somaxconn}."
        )
    });
    Check { name: "somaxconn", warning }
}

fn check_clock() -> Check {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = fs::read_to_string(path).unwrap_or_default();
    let slow = ["xen", "hpet", "acpi_pm"].into_iter().find(|slow| source.trim() == *slow);
    let warning = slow.map(|slow| format!("Reading the clock is slow here: its source is {slow}."));
    Check { name: "slow-clocksource", warning }
}

fn check_cores() -> Check {
    let warning =
        allowed_cores().err().map(|error| format!("Cannot read the allowed cores: {error}"));
    Check { name: "cores", warning }
}

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_line() {
        let (text, is_well) = check_system();
        let names = ["io-uring", "somaxconn", "slow-clocksource", "cores"];
        for name in names {
            assert!(text.contains(&format!("[{name}]...")), "{text}");
        }
        assert_eq!(is_well, !text.contains("WARNING"));
    }
}
