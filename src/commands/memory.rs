//! MEMORY: what keys and values take.

use super::help::help;
use crate::base::number::parse_i64;
use crate::exec::{Command, Context, Run};
use crate::resp::{Args, Error};
use crate::spec::{Begin, Card, Find, Flag, Group, KeySpec};

pub(super) static MEMORY: Command = Command {
    card: Card {
        name: "memory",
        summary: "A container for memory diagnostics commands.",
        since: "4.0.0",
        group: Group::Server,
        complexity: "Depends on subcommand.",
        arity: -2,
        flags: Flag::NONE,
        categories: &[],
        tips: &[],
        keys: &[],
    },
    run: Run::Container,
    subcommands: &[&USAGE, &HELP],
};

static USAGE: Command = Command {
    card: Card {
        name: "usage",
        summary: "Estimates the memory usage of a key.",
        since: "4.0.0",
        group: Group::Server,
        complexity: "O(N) where N is the number of samples.",
        arity: -3,
        flags: Flag::READONLY,
        categories: &[],
        tips: &[],
        keys: &[KeySpec {
            flags: "RO",
            notes: "",
            begin: Begin::Index(2),
            find: Find::Range { last: 0, step: 1 },
        }],
    },
    run: Run::Keys(usage),
    subcommands: &[],
};

/// Elements that are looked at unless SAMPLES says how many.
const SAMPLES: usize = 5;

/// The bytes of the entry and of what it refers to.
fn usage(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let mut samples = SAMPLES;
    for at in (3..args.len()).step_by(2) {
        match args.get(at + 1) {
            Some(count) if args[at].eq_ignore_ascii_case(b"samples") => {
                let count = parse_i64(count).ok_or(Error::NotInteger)?;
                samples = usize::try_from(count).map_err(|_| Error::Syntax)?;
            }
            _ => return Err(Error::Syntax),
        }
    }
    let key = cx.key(args, 2);
    match cx.slice.peek(cx.db, &key).map(|view| view.memory_bytes(samples)) {
        Some(bytes) => cx.reply.integer(bytes as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

static HELP: Command = Command {
    card: Card {
        name: "help",
        summary: "Returns helpful text about the different subcommands.",
        since: "4.0.0",
        group: Group::Server,
        complexity: "O(1)",
        arity: 2,
        flags: Flag::LOADING.and(Flag::STALE),
        categories: &[],
        tips: &[],
        keys: &[],
    },
    run: Run::Session(help),
    subcommands: &[],
};

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check_script};
    use crate::resp::Value;

    #[test]
    fn options() {
        check_script(
            "
            MEMORY USAGE none => nil
            MEMORY USAGE none SAMPLES 0 samples 9 => nil
            MEMORY USAGE none SAMPLES -1 => -ERR syntax error
            MEMORY USAGE none SAMPLES x => -ERR value is not an integer or out of range
            MEMORY USAGE none SAMPLES => -ERR syntax error
            MEMORY USAGE none FOO 1 => -ERR syntax error
            ",
        );
    }

    #[test]
    fn a_value_takes_at_least_its_bytes_and_little_more() {
        let mut bench = Bench::new();
        for len in [1, 100, 33_000, 100_000] {
            bench.run(&["SET", "key", &"A".repeat(len)]);
            let usage = bench.run(&["MEMORY", "USAGE", "key"]);
            let Value::Integer(bytes) = usage else { panic!("{usage:?}") };
            let bytes = bytes as usize;
            assert!(len + 3 <= bytes && bytes <= len + len / 4 + 32, "{len}: {bytes}");
        }
    }
}
