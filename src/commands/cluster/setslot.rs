//! CLUSTER SETSLOT. It runs on the partition that owns the slot, and no other command runs there
//! meanwhile: so no command on a key of the slot is under way when its owner changes.

use super::keys::named_slot;
use super::{change::FLAGS, cluster_of, slot_arg};
use crate::base::number::parse_i64;
use crate::cluster::{Nodes, Opening};
use crate::exec::{Command, Context, Process};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Group};

pub(super) static SETSLOT: Command = Command::on_slot(
    set_slot,
    named_slot,
    Card::new("setslot", Group::Cluster, "3.0.0")
        .summary("Binds a hash slot to a node.")
        .constant_time()
        .arity(-4)
        .flags(FLAGS)
        .history(&[("8.0.0", "Added the `TIMEOUT` option.")])
        .args(&[
            Arg::integer("slot"),
            Arg::one_of(
                "subcommand",
                &[
                    Arg::string("importing").shown_as("node-id").after("IMPORTING"),
                    Arg::string("migrating").shown_as("node-id").after("MIGRATING"),
                    Arg::string("node").shown_as("node-id").after("NODE"),
                    Arg::keyword("STABLE"),
                ],
            ),
            Arg::integer("timeout").after("TIMEOUT").since("8.0.0").optional(),
        ]),
)
.exclusive()
.uses_scripting();

/// What SETSLOT does. The numbers are of nodes.
#[derive(Clone, Copy)]
enum Action {
    Migrate(usize),
    Import(usize),
    Close,
    Give(usize),
}

fn set_slot(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let process = cx.scripting.as_ref().expect("the card says that it needs it").process;
    let cluster = cluster_of(process)?;
    let slot = slot_arg(&args[2])?;
    let databases = 0..cx.slice.databases();
    let slice = cx.slice_of(slot);
    let keys: usize = databases.map(|db| slice.slot_len(db, slot)).sum();
    let config = process.config.snapshot();
    let line = cluster.change((&config, &process.log), |nodes| {
        let action = read_action(nodes, (slot, keys), process.shards(), args)?;
        check_timeout(args)?;
        Ok(carry_out(nodes, slot, keys, action))
    })?;
    if args[3].eq_ignore_ascii_case(b"node") {
        process.boards.slot_usage.reset(slot);
    }
    note(process, &line);
    cx.reply.ok();
    Ok(())
}

/// Returns the number of the node with an id. The ids of this process's shards lead to this node.
fn find(nodes: &Nodes, shards: usize, id: &[u8]) -> Option<usize> {
    let is_mine = || (0..shards).any(|shard| nodes.me().id.of_shard(shard).bytes() == id);
    nodes.find(id).or_else(|| is_mine().then(|| nodes.my_number()))
}

fn read_action(
    nodes: &Nodes,
    (slot, keys): (u16, usize),
    shards: usize,
    args: &Args<'_>,
) -> Result<Action, Error> {
    let is_mine = nodes.is_mine(slot);
    let other = |id: &[u8]| {
        let unknown = || Error::quoting(&[b"ERR I don't know about node ", id]);
        let number = find(nodes, shards, id).ok_or_else(unknown)?;
        if number == nodes.my_number() {
            return Err(Error::other("ERR Target node is myself"));
        }
        check_primary(nodes, number)
    };
    match (&args[3].to_ascii_lowercase()[..], args.get(4)) {
        (b"migrating", Some(_)) if !is_mine => {
            Err(Error::other(format!("ERR I'm not the owner of hash slot {slot}")))
        }
        (b"migrating", Some(id)) => Ok(Action::Migrate(other(id)?)),
        (b"importing", Some(_)) if is_mine => {
            Err(Error::other(format!("ERR I'm already the owner of hash slot {slot}")))
        }
        (b"importing", Some(id)) => Ok(Action::Import(other(id)?)),
        (b"stable", _) => Ok(Action::Close),
        (b"node", Some(id)) => {
            let unknown = || Error::quoting(&[b"ERR Unknown node ", id]);
            let number = check_primary(nodes, find(nodes, shards, id).ok_or_else(unknown)?)?;
            if is_mine && number != nodes.my_number() && keys > 0 {
                return Err(Error::other(format!(
                    "ERR Can't assign hashslot {slot} to a different node while I still hold keys \
                     for this hash slot."
                )));
            }
            Ok(Action::Give(number))
        }
        _ => Err(Error::other(
            "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
        )),
    }
}

fn check_primary(nodes: &Nodes, number: usize) -> Result<usize, Error> {
    if nodes.all()[number].is_replica() {
        return Err(Error::other("ERR Target node is not a master"));
    }
    Ok(number)
}

/// Checks the option TIMEOUT. There are no replicas to wait for.
fn check_timeout(args: &Args<'_>) -> Result<(), Error> {
    let first = if args[3].eq_ignore_ascii_case(b"stable") { 4 } else { 5 };
    for at in first..args.len() {
        if !args[at].eq_ignore_ascii_case(b"timeout") {
            continue;
        }
        let value = args.get(at + 1).ok_or_else(|| Error::other("ERR Missing timeout value"))?;
        let number = parse_i64(value);
        let number =
            number.ok_or_else(|| Error::other("ERR timeout is not an integer or out of range"))?;
        if number < 0 {
            return Err(Error::other("ERR timeout is negative"));
        }
    }
    Ok(())
}

/// Changes the slot. Returns lines for the log.
fn carry_out(nodes: &mut Nodes, slot: u16, keys: usize, action: Action) -> Vec<String> {
    let id = |nodes: &Nodes, number: usize| nodes.all()[number].id;
    match action {
        Action::Migrate(to) => {
            nodes.open(slot, Some(Opening::Migrating(to)));
            vec![format!("Migrating slot {slot} to node {}", id(nodes, to))]
        }
        Action::Import(from) => {
            nodes.open(slot, Some(Opening::Importing(from)));
            vec![format!("Importing slot {slot} from node {}", id(nodes, from))]
        }
        Action::Close => {
            nodes.open(slot, None);
            vec![format!("Marking slot {slot} stable")]
        }
        Action::Give(to) => {
            let mut lines = vec![format!("Assigning slot {slot} to node {}", id(nodes, to))];
            let (me, opening) = (nodes.my_number(), nodes.opening(slot));
            let was_mine = nodes.is_mine(slot);
            if keys == 0 && matches!(opening, Some(Opening::Migrating(_))) {
                nodes.open(slot, None);
            }
            nodes.assign(slot, Some(to));
            if to == me && matches!(opening, Some(Opening::Importing(_))) {
                nodes.open(slot, None);
                if nodes.bump_epoch() {
                    lines.push(format!("New configEpoch set to {}", nodes.me().config_epoch));
                    lines.push(format!("ConfigEpoch updated after importing slot {slot}"));
                }
            }
            if was_mine && to != me && nodes.ranges(me).is_empty() {
                let id = id(nodes, to);
                lines.push(format!(
                    "My last slot was migrated to node {id}. I am now an empty primary."
                ));
            }
            lines
        }
    }
}

fn note(process: &Process, lines: &[String]) {
    lines.iter().for_each(|line| process.log.notice(line));
}
