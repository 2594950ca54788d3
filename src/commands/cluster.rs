//! CLUSTER, and the commands by which a connection follows redirections.

mod change;
mod keys;
mod setslot;
mod show;
mod stats;

pub(super) use show::info_fields;

use crate::base::number::parse_i64;
use crate::base::slot::SLOT_COUNT;
use crate::cluster::Cluster;
use crate::exec::{Command, Process, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Card, Category, Flag, Group};

/// The commands of this file.
pub static FAMILY: &[&Command] = &[&CLUSTER, &ASKING, &READONLY, &READWRITE];

/// The reply to commands of a cluster, if the process is no node of one.
pub(super) const CLUSTER_DISABLED: &str = "ERR This instance has cluster support disabled";

static CLUSTER: Command = Command::container(
    Card::new("cluster", Group::Cluster, "3.0.0")
        .summary("A container for Cluster commands.")
        .complexity("Depends on subcommand.")
        .arity(-2),
    &[
        &change::ADDSLOTS,
        &change::ADDSLOTSRANGE,
        &change::BUMPEPOCH,
        &show::COUNT_FAILURE_REPORTS,
        &keys::COUNTKEYSINSLOT,
        &change::DELSLOTS,
        &change::DELSLOTSRANGE,
        &change::FAILOVER,
        &keys::FLUSHSLOT,
        &change::FLUSHSLOTS,
        &change::FORGET,
        &keys::GETKEYSINSLOT,
        &show::HELP,
        &show::INFO,
        &show::KEYSLOT,
        &show::LINKS,
        &show::MYID,
        &show::MYSHARDID,
        &show::NODES,
        &show::REPLICAS,
        &change::RESET,
        &change::SAVECONFIG,
        &change::SET_CONFIG_EPOCH,
        &setslot::SETSLOT,
        &show::SHARDS,
        &show::SLAVES,
        &stats::SLOT_STATS,
        &show::SLOTS,
    ],
);

/// Returns the cluster, if the process is a node of one.
fn cluster_of(process: &Process) -> Result<&Cluster, Error> {
    let cluster = process.cluster.get().filter(|_| process.is_cluster);
    cluster.ok_or_else(|| Error::other(CLUSTER_DISABLED))
}

/// Returns the nodes that clients see: of a cluster, or the shards of this process.
fn nodes_of<'p>(cx: &SessionContext<'p>) -> Result<&'p Cluster, Error> {
    cx.process.cluster.get().ok_or_else(|| Error::other(CLUSTER_DISABLED))
}

/// Parses the number of a slot.
pub(super) fn slot_arg(arg: &[u8]) -> Result<u16, Error> {
    let slot = parse_i64(arg).filter(|slot| (0..i64::from(SLOT_COUNT)).contains(slot));
    let slot = slot.map(|slot| slot as u16);
    slot.ok_or_else(|| Error::other("ERR Invalid or out of range slot"))
}

static ASKING: Command = Command::session(
    asking,
    Card::new("asking", Group::Cluster, "3.0.0")
        .summary("Signals that a cluster client is following an -ASK redirect.")
        .constant_time()
        .flags(Flag::FAST)
        .categories(&[Category::Connection]),
);

fn asking(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cluster_of(cx.process)?;
    (cx.session.is_asking, cx.session.asks_anew) = (true, true);
    cx.reply.ok();
    Ok(())
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
mod tests;
