//! MONITOR: shows the session every command that the server runs, until it closes or sends RESET.

use crate::exec::{Command, Request, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Flag, Group};

pub(super) static MONITOR: Command = Command::session(
    monitor,
    Card::new("monitor", Group::Server, "1.0.0")
        .summary("Listens for all requests received by the server in real-time.")
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::LOADING).and(Flag::STALE)),
);

fn monitor(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.request = Some(Request::Monitor);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn reset_ends_monitor_mode() {
        let mut bench = SessionBench::new();
        bench.check_script("MONITOR => ?Monitor");
        bench.session.is_monitor = true;
        bench.check_script("RESET => RESET");
        assert!(!bench.session.is_monitor);
    }
}
