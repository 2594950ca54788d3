//! CLUSTER commands that change which slots this node serves, and which nodes it knows.
//!
//! A change is saved to nodes.conf before any client sees it. All shards see it at once.

use super::show::unknown_node;
use super::{cluster_of, slot_arg};
use crate::base::number::parse_i64;
use crate::base::slot::SLOT_COUNT;
use crate::cluster::Nodes;
use crate::exec::{Command, Process, SessionContext};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};

/// Flags of the commands that change the cluster.
pub(super) const FLAGS: Flag = Flag::ADMIN.and(Flag::STALE).and(Flag::NO_ASYNC_LOADING);

/// Changes the nodes and replies OK.
fn change(
    cx: &mut SessionContext<'_>,
    change: impl FnOnce(&mut Nodes) -> Result<(), Error>,
) -> Result<(), Error> {
    let cluster = cluster_of(cx.process)?;
    let config = cx.process.config.snapshot();
    cluster.change((&config, &cx.process.log), change)?;
    cx.reply.ok();
    Ok(())
}

/// Returns whether any database has keys.
fn has_keys(process: &Process) -> bool {
    (0..process.databases).any(|db| process.boards.database(db)[0] > 0)
}

/// Changes the owner of slots.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assignment {
    Add,
    Delete,
}

/// Adds slots to this node or takes them from their owner. Checks all of them first.
fn assign(
    cx: &mut SessionContext<'_>,
    ranges: &[(u16, u16)],
    assignment: Assignment,
) -> Result<(), Error> {
    change(cx, |nodes| {
        let mut seen = vec![false; usize::from(SLOT_COUNT)];
        let slots = || ranges.iter().flat_map(|(first, last)| *first..=*last);
        for slot in slots() {
            let why = match (assignment, nodes.owner(slot)) {
                (Assignment::Delete, None) => "is already unassigned",
                (Assignment::Add, Some(_)) => "is already busy",
                _ if std::mem::replace(&mut seen[usize::from(slot)], true) => {
                    "specified multiple times"
                }
                _ => continue,
            };
            return Err(Error::other(format!("ERR Slot {slot} {why}")));
        }
        let me = nodes.my_number();
        for slot in slots() {
            if matches!(nodes.opening(slot), Some(crate::cluster::Opening::Importing(_))) {
                nodes.open(slot, None);
            }
            nodes.assign(slot, Some(me).filter(|_| assignment == Assignment::Add));
        }
        Ok(())
    })?;
    let slots = ranges.iter().flat_map(|(first, last)| *first..=*last);
    slots.for_each(|slot| cx.process.boards.slot_usage.reset(slot));
    Ok(())
}

fn assign_each(
    cx: &mut SessionContext<'_>,
    args: &Args<'_>,
    assignment: Assignment,
) -> Result<(), Error> {
    cluster_of(cx.process)?;
    let slots: Result<Vec<u16>, Error> = args.iter_from(2).map(slot_arg).collect();
    let ranges: Vec<(u16, u16)> = slots?.into_iter().map(|slot| (slot, slot)).collect();
    assign(cx, &ranges, assignment)
}

fn assign_ranges(
    cx: &mut SessionContext<'_>,
    args: &Args<'_>,
    assignment: Assignment,
) -> Result<(), Error> {
    cluster_of(cx.process)?;
    if !args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity(&cx.entry.name));
    }
    let mut ranges = Vec::new();
    for at in (2..args.len()).step_by(2) {
        let (first, last) = (slot_arg(&args[at])?, slot_arg(&args[at + 1])?);
        if first > last {
            return Err(Error::other(format!(
                "ERR start slot number {first} is greater than end slot number {last}"
            )));
        }
        ranges.push((first, last));
    }
    assign(cx, &ranges, assignment)
}

const SLOTS: &[Arg] = &[Arg::integer("slot").repeated()];

const RANGES: &[Arg] =
    &[Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).repeated()];

pub(super) static ADDSLOTS: Command = Command::session(
    |cx, args| assign_each(cx, args, Assignment::Add),
    Card::new("addslots", Group::Cluster, "3.0.0")
        .summary("Assigns new hash slots to a node.")
        .complexity("O(N) where N is the total number of hash slot arguments")
        .arity(-3)
        .flags(FLAGS)
        .args(SLOTS),
);

pub(super) static DELSLOTS: Command = Command::session(
    |cx, args| assign_each(cx, args, Assignment::Delete),
    Card::new("delslots", Group::Cluster, "3.0.0")
        .summary("Sets hash slots as unbound for a node.")
        .complexity("O(N) where N is the total number of hash slot arguments")
        .arity(-3)
        .flags(FLAGS)
        .args(SLOTS),
);

/// The complexity of commands on ranges of slots.
const OF_RANGES: &str = "O(N) where N is the total number of the slots between the start slot and \
                         end slot arguments.";

pub(super) static ADDSLOTSRANGE: Command = Command::session(
    |cx, args| assign_ranges(cx, args, Assignment::Add),
    Card::new("addslotsrange", Group::Cluster, "7.0.0")
        .summary("Assigns new hash slot ranges to a node.")
        .complexity(OF_RANGES)
        .arity(-4)
        .flags(FLAGS)
        .args(RANGES),
);

pub(super) static DELSLOTSRANGE: Command = Command::session(
    |cx, args| assign_ranges(cx, args, Assignment::Delete),
    Card::new("delslotsrange", Group::Cluster, "7.0.0")
        .summary("Sets hash slot ranges as unbound for a node.")
        .complexity(OF_RANGES)
        .arity(-4)
        .flags(FLAGS)
        .args(RANGES),
);

pub(super) static FLUSHSLOTS: Command = Command::session(
    flush_slots,
    Card::new("flushslots", Group::Cluster, "3.0.0")
        .summary("Deletes all slots information from a node.")
        .constant_time()
        .arity(2)
        .flags(FLAGS),
);

fn flush_slots(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cluster_of(cx.process)?;
    if has_keys(cx.process) {
        return Err(Error::other("ERR DB must be empty to perform CLUSTER FLUSHSLOTS."));
    }
    change(cx, |nodes| {
        for slot in (0..SLOT_COUNT).filter(|slot| nodes.is_mine(*slot)).collect::<Vec<_>>() {
            nodes.assign(slot, None);
        }
        Ok(())
    })
}

pub(super) static BUMPEPOCH: Command = Command::session(
    bump_epoch,
    Card::new("bumpepoch", Group::Cluster, "3.0.0")
        .summary("Advances the cluster config epoch.")
        .constant_time()
        .arity(2)
        .flags(FLAGS)
        .tips(&["nondeterministic_output"]),
);

fn bump_epoch(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    let cluster = cluster_of(cx.process)?;
    let (config, log) = (cx.process.config.snapshot(), &cx.process.log);
    let (has_grown, epoch) = cluster
        .change((&config, log), |nodes| Ok((nodes.bump_epoch(), nodes.me().config_epoch)))?;
    if has_grown {
        log.notice(&format!("New configEpoch set to {epoch}"));
    }
    cx.reply.simple(&format!("{} {epoch}", if has_grown { "BUMPED" } else { "STILL" }));
    Ok(())
}

pub(super) static SET_CONFIG_EPOCH: Command = Command::session(
    set_config_epoch,
    Card::new("set-config-epoch", Group::Cluster, "3.0.0")
        .summary("Sets the configuration epoch for a new node.")
        .constant_time()
        .arity(3)
        .flags(FLAGS)
        .args(&[Arg::integer("config-epoch")]),
);

fn set_config_epoch(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cluster_of(cx.process)?;
    let epoch = parse_i64(&args[2]).ok_or(Error::NotInteger)?;
    let Ok(number) = u64::try_from(epoch) else {
        return Err(Error::other(format!("ERR Invalid config epoch specified: {epoch}")));
    };
    change(cx, |nodes| {
        if nodes.all().len() > 1 {
            return Err(Error::other(
                "ERR The user can assign a config epoch only when the node does not know any \
                 other node.",
            ));
        }
        if nodes.me().config_epoch != 0 {
            return Err(Error::other("ERR Node config epoch is already non-zero"));
        }
        nodes.me_mut().config_epoch = number;
        nodes.current_epoch = nodes.current_epoch.max(number);
        Ok(())
    })?;
    let log = &cx.process.log;
    log.notice(&format!("configEpoch set to {number} via CLUSTER SET-CONFIG-EPOCH"));
    Ok(())
}

pub(super) static SAVECONFIG: Command = Command::session(
    save_config,
    Card::new("saveconfig", Group::Cluster, "3.0.0")
        .summary("Forces a node to save the cluster configuration to disk.")
        .constant_time()
        .arity(2)
        .flags(FLAGS),
);

fn save_config(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    cluster_of(cx.process)?.save(&cx.process.config.snapshot())?;
    cx.reply.ok();
    Ok(())
}

pub(super) static FORGET: Command = Command::session(
    forget,
    Card::new("forget", Group::Cluster, "3.0.0")
        .summary("Removes a node from the nodes table.")
        .constant_time()
        .arity(3)
        .flags(FLAGS)
        .args(&[Arg::string("node-id")]),
);

fn forget(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    change(cx, |nodes| {
        let number = nodes.find(&args[2]).ok_or_else(|| unknown_node(&args[2]))?;
        if number == nodes.my_number() {
            return Err(Error::other("ERR I tried hard but I can't forget myself..."));
        }
        nodes.forget(number);
        Ok(())
    })?;
    let id = String::from_utf8_lossy(&args[2]);
    cx.process.log.notice(&format!("Cluster forget {id} (user request)"));
    Ok(())
}

pub(super) static RESET: Command = Command::session(
    reset,
    Card::new("reset", Group::Cluster, "3.0.0")
        .summary("Resets a node.")
        .complexity(
            "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a \
             side effect.",
        )
        .arity(-2)
        .flags(Flag::ADMIN.and(Flag::NOSCRIPT).and(Flag::STALE))
        .args(&[Arg::choice("reset-type", &["HARD", "SOFT"]).optional()]),
);

fn reset(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let cluster = cluster_of(cx.process)?;
    let is_hard = match (args.get(2), args.len()) {
        (None, _) => false,
        (Some(kind), 3) if kind.eq_ignore_ascii_case(b"hard") => true,
        (Some(kind), 3) if kind.eq_ignore_ascii_case(b"soft") => false,
        (_, 3) => return Err(Error::Syntax),
        _ => return Err(Error::subcommand_syntax(b"cluster", &args[1])),
    };
    if has_keys(cx.process) {
        return Err(Error::other(
            "ERR CLUSTER RESET can't be called with master nodes containing keys",
        ));
    }
    let (id, shard_id) = (cluster.draw_id(), cluster.draw_id());
    change(cx, |nodes| {
        nodes.reset(shard_id);
        if is_hard {
            (nodes.current_epoch, nodes.last_vote_epoch) = (0, 0);
            nodes.me_mut().config_epoch = 0;
            nodes.me_mut().id = id;
        }
        Ok(())
    })?;
    let log = &cx.process.log;
    log.notice("Cluster reset (user request)");
    if is_hard {
        log.notice("configEpoch set to 0 via CLUSTER RESET HARD");
        log.notice(&format!("Node hard reset, now I'm {id}"));
    }
    log.notice(&format!("Moving myself to a new shard {shard_id}."));
    Ok(())
}

pub(super) static FAILOVER: Command = Command::session(
    failover,
    Card::new("failover", Group::Cluster, "3.0.0")
        .summary("Forces a replica to perform a manual failover of its primary.")
        .constant_time()
        .arity(-2)
        .flags(FLAGS)
        .args(&[Arg::choice("options", &["FORCE", "TAKEOVER"]).optional()]),
);

/// A node is always a primary, and only replicas fail over.
fn failover(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    cluster_of(cx.process)?;
    let is_option =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"force") || arg.eq_ignore_ascii_case(b"takeover");
    if !args.iter_from(2).all(is_option) {
        return Err(Error::Syntax);
    }
    Err(Error::other("ERR You should send CLUSTER FAILOVER to a replica"))
}
