//! Cluster commands on the connection. There is no cluster mode: READONLY and READWRITE set a flag
//! that CLIENT LIST shows, ASKING is refused with the reference's error.

use crate::exec::{Command, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group};

/// The commands of this file.
pub static FAMILY: &[&Command] = &[&ASKING, &READONLY, &READWRITE];

static ASKING: Command = Command::session(
    refuse,
    Card::new("asking", Group::Cluster, "3.0.0")
        .summary("Signals that a cluster client is following an -ASK redirect.")
        .constant_time()
        .flags(Flag::FAST)
        .categories(&[Category::Connection]),
);

fn refuse(_cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    Err(Error::other("ERR This instance has cluster support disabled"))
}

static READONLY: Command = Command::session(
    readonly,
    Card::new("readonly", Group::Cluster, "3.0.0")
        .summary("Enables read-only queries for a connection to a Valkey replica node.")
        .constant_time()
        .flags(Flag::LOADING.and(Flag::STALE).and(Flag::FAST))
        .categories(&[Category::Connection]),
);

fn readonly(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.session.is_readonly = true;
    cx.reply.ok();
    Ok(())
}

static READWRITE: Command = Command::session(
    readwrite,
    Card::new("readwrite", Group::Cluster, "3.0.0")
        .summary("Enables read-write queries for a connection to a Valkey replica node.")
        .constant_time()
        .flags(Flag::LOADING.and(Flag::STALE).and(Flag::FAST))
        .categories(&[Category::Connection]),
);

fn readwrite(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cx.session.is_readonly = false;
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::SessionBench;

    #[test]
    fn the_flag_is_kept() {
        let mut bench = SessionBench::new();
        bench.check_script("READONLY => OK");
        assert_eq!(bench.session.flags(), "r");
        bench.check_script("READWRITE => OK");
        assert_eq!(bench.session.flags(), "N");
        bench.check_script("ASKING => -ERR This instance has cluster support disabled");
        bench.check_script("READONLY => OK");
        bench.check_script("RESET => RESET");
        assert_eq!(bench.session.flags(), "N");
    }
}
