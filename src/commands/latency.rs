//! LATENCY: where time goes.

mod profile;

use crate::exec::{Command, Run};
use crate::spec::{Card, Flag, Group};

pub(super) static LATENCY: Command = Command {
    card: Card {
        name: "latency",
        summary: "A container for latency diagnostics commands.",
        since: "2.8.13",
        group: Group::Server,
        complexity: "Depends on subcommand.",
        arity: -2,
        flags: Flag::NONE,
        categories: &[],
        tips: &[],
        keys: &[],
    },
    run: Run::Container,
    subcommands: &[&profile::PROFILE],
};
