//! Sends random commands to Annulet and to a Valkey 9.1; compares each reply, then all keys.
//!
//! `ANNULET_PEER` names the program of the Valkey server; the default is `valkey-server` on the
//! PATH. Without one nothing is compared. Further environment variables, all numbers:
//!
//! ```text
//!   ANNULET_DIFF_COMMANDS     number of commands                         20,000
//!   ANNULET_DIFF_SEED         seed of the commands                       1
//!   ANNULET_DIFF_SHARDS       shards of Annulet, separated by commas     1,4
//!   ANNULET_DIFF_PROTOCOLS    versions of RESP, separated by commas      2,3
//!   ANNULET_DIFF_OFFLOAD      Annulet's offload-elements-min, separated
//!                             by commas: one after the other            1,10000,10000
//!   ANNULET_DIFF_COMMAND_MIN  least number of each command               one in 2,000 of all
//!   ANNULET_DIFF_OPTION_MIN   least number of each option of a command   one in 20,000
//!                             (a short run: one in 10,000 of each command, and no options)
//!   ANNULET_DIFF_REHEARSAL    1: a second Valkey replaces Annulet        0
//! ```
//! To repeat a run with findings, use its seed and either its number of shards and its protocol
//! alone, or the same lists: `ANNULET_DIFF_SEED=7 cargo test --test differential -- --nocapture`.

mod compare;
mod findings;
mod generate;
mod grammar;
mod guard;
mod listen;
mod peer;
mod script;
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

/// Runs with fewer commands need fewer of each command.
const SHORT_MAX: u64 = 100_000;

/// The size of the run, and the servers.
struct Settings {
    commands: u64,
    seed: u64,
    shards: Vec<usize>,
    protocols: Vec<u8>,
    offload_mins: Vec<u32>,
    command_min: u64,
    option_min: u64,
    is_rehearsal: bool,
}

/// Returns the numbers in an environment variable.
fn numbers<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_string());
    let number = |arg: &str| arg.parse().unwrap_or_else(|_| panic!("{name}: {arg:?}"));
    text.split(',').map(number).collect()
}

impl Settings {
    fn from_environment() -> Settings {
        let number = |name: &str, default: u64| numbers(name, &default.to_string())[0];
        let commands = number("ANNULET_DIFF_COMMANDS", 20_000);
        // A short run may miss rare commands.
        let is_short = commands < SHORT_MAX;
        Settings {
            commands,
            seed: number("ANNULET_DIFF_SEED", 1),
            shards: numbers("ANNULET_DIFF_SHARDS", "1,4"),
            protocols: numbers("ANNULET_DIFF_PROTOCOLS", "2,3"),
            offload_mins: numbers("ANNULET_DIFF_OFFLOAD", "1,10000,10000"),
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
fn replies_and_keys_equal_the_peer_s() {
    let Some(program) = peer::program() else { return };
    let settings = Settings::from_environment();
    let mut tally = Tally::default();
    let mut findings = Findings::default();
    let each = settings.commands / (settings.shards.len() * settings.protocols.len()) as u64;
    let mut offload_mins = settings.offload_mins.iter().copied().cycle();
    for &shards in &settings.shards {
        for &protocol in &settings.protocols {
            let offload_min = offload_mins.next().expect("there is at least one");
            let seed = settings.seed;
            findings.enter(format!(
                "seed {seed}, {shards} shards, RESP{protocol}, offloading from {offload_min} on"
            ));
            let is_rehearsal = settings.is_rehearsal;
            let setup = session::Setup { shards, protocol, seed, offload_min, is_rehearsal };
            session::run(&program, setup, each, &mut tally, &mut findings);
        }
    }
    print!("{}", tally.table());
    let scarce = tally.scarce(settings.command_min, settings.option_min);
    assert!(findings.is_empty(), "{}", findings.text());
    assert!(scarce.is_empty(), "too few to prove anything:\n{}", scarce.join("\n"));
}
