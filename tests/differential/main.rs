//! Random commands, sent to Annulet and to a Valkey 9.1; each reply and then each key is compared.
//!
//! `ANNULET_PEER` names the Valkey server's program, else it is `valkey-server` on the PATH;
//! without one nothing is compared. Further settings from the environment, all numbers:
//!
//! ```text
//!   ANNULET_DIFF_COMMANDS     commands in all                             20,000
//!   ANNULET_DIFF_SEED         what the commands follow from               1
//!   ANNULET_DIFF_SHARDS       shards of Annulet, divided by commas        1,4
//!   ANNULET_DIFF_PROTOCOLS    versions of RESP, divided by commas         2,3
//!   ANNULET_DIFF_COMMAND_MIN  the fewest of each command                  one in 2,000 of all
//!   ANNULET_DIFF_OPTION_MIN   the fewest of each option of a command      one in 20,000
//!                             (in a short run one in 10,000, and none of the options)
//!   ANNULET_DIFF_REHEARSAL    1: a second Valkey stands in for Annulet    0
//! ```
//! A run that found something is repeated by its seed, with one number of shards and one protocol
//! or with the same several: `ANNULET_DIFF_SEED=7 cargo test --test differential -- --nocapture`.

mod compare;
mod findings;
mod generate;
mod grammar;
mod guard;
mod peer;
#[path = "../process/server.rs"]
#[allow(dead_code)]
mod server;
mod session;
mod state;
mod tally;
mod vocabulary;
mod wire;

use findings::Findings;
use std::str::FromStr;
use tally::Tally;

/// Runs of fewer commands are not asked for as many of each.
const SHORT_MAX: u64 = 100_000;

/// How much is compared, and with what.
struct Settings {
    commands: u64,
    seed: u64,
    shards: Vec<usize>,
    protocols: Vec<u8>,
    command_min: u64,
    option_min: u64,
    is_rehearsal: bool,
}

/// The numbers in a variable of the environment.
fn numbers<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_string());
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{name}: {word:?}"));
    text.split(',').map(number).collect()
}

impl Settings {
    fn from_environment() -> Settings {
        let number = |name: &str, default: u64| numbers(name, &default.to_string())[0];
        let commands = number("ANNULET_DIFF_COMMANDS", 20_000);
        // A short run may miss what is rare.
        let is_short = commands < SHORT_MAX;
        Settings {
            commands,
            seed: number("ANNULET_DIFF_SEED", 1),
            shards: numbers("ANNULET_DIFF_SHARDS", "1,4"),
            protocols: numbers("ANNULET_DIFF_PROTOCOLS", "2,3"),
            command_min: number(
                "ANNULET_DIFF_COMMAND_MIN",
                commands / if is_short { 10_000 } else { 2_000 },
            ),
            option_min: number(
                "ANNULET_DIFF_OPTION_MIN",
                if is_short { 0 } else { commands / 20_000 },
            ),
            is_rehearsal: number("ANNULET_DIFF_REHEARSAL", 0) != 0,
        }
    }
}

#[test]
fn replies_and_keys_are_those_of_the_peer() {
    let Some(program) = peer::program() else { return };
    let settings = Settings::from_environment();
    let mut tally = Tally::default();
    let mut findings = Findings::default();
    let each = settings.commands / (settings.shards.len() * settings.protocols.len()) as u64;
    for &shards in &settings.shards {
        for &protocol in &settings.protocols {
            findings.enter(format!("seed {}, {shards} shards, RESP{protocol}", settings.seed));
            let Settings { seed, is_rehearsal, .. } = settings;
            let setup = session::Setup { shards, protocol, seed, is_rehearsal };
            session::run(&program, setup, each, &mut tally, &mut findings);
        }
    }
    print!("{}", tally.table());
    let scarce = tally.scarce(settings.command_min, settings.option_min);
    assert!(findings.is_empty(), "{}", findings.text());
    assert!(scarce.is_empty(), "too few to say anything:\n{}", scarce.join("\n"));
}
