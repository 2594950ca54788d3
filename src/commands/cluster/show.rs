//! CLUSTER commands that show nodes and slots. They are answered too if only the shards are nodes
//! (`cluster-shard-ports` without `cluster-enabled`).

use super::{CLUSTER_DISABLED, nodes_of};
use crate::base::slot::slot_of;
use crate::cluster::{NodeFlags, Nodes, SeenNode, Viewer};
use crate::commands::help::help;
use crate::config::{Config, EndpointType};
use crate::exec::{Command, Process, SessionContext};
use crate::resp::{Args, Error, Reply};
use crate::spec::{Arg, Card, Flag, Group};
use std::fmt::Write;

/// Calls `show` with the nodes, and with the client's view of them.
fn with_view(
    cx: &mut SessionContext<'_>,
    show: impl FnOnce(&Nodes, &Viewer<'_>, &Process, &mut Reply<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let cluster = nodes_of(cx)?;
    let (config, map) = (cx.process.config.snapshot(), cx.process.slot_map.snapshot());
    let viewer = Viewer {
        config: &config,
        local_address: &cx.session.local_address,
        is_tls: cx.session.is_tls,
        map: &map,
        shard: cx.session.port_of,
    };
    show(&cluster.nodes(), &viewer, cx.process, &mut cx.reply)
}

pub(super) static SLOTS: Command = Command::session(
    slots,
    Card::new("slots", Group::Cluster, "3.0.0")
        .summary("Returns the mapping of cluster slots to nodes.")
        .complexity("O(N) where N is the total number of Cluster nodes")
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .tips(&["nondeterministic_output"])
        .history(&[
            ("4.0.0", "Added node IDs."),
            ("7.0.0", "Added additional networking metadata field."),
            ("9.1.0", "Added `availability-zone` field inside the networking metadata."),
        ]),
);

fn slots(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, _, reply| {
        let seen = viewer.all(nodes);
        let ranges = |node| move |range: &(u16, u16)| (*range, node);
        let mut all: Vec<((u16, u16), &SeenNode)> =
            seen.iter().flat_map(|node| node.ranges.iter().map(ranges(node))).collect();
        all.sort_unstable_by_key(|(range, _)| *range);
        reply.array(all.len());
        for ((first, last), node) in all {
            reply.array(3);
            reply.integer(i64::from(first));
            reply.integer(i64::from(last));
            show_address(viewer, node, reply);
        }
        Ok(())
    })
}

/// Writes how the client reaches a node: endpoint, port, id, and what else is known of its address.
fn show_address(viewer: &Viewer<'_>, node: &SeenNode, reply: &mut Reply<'_>) {
    reply.array(4);
    match viewer.endpoint(&node.node, &node.ip) {
        Some(endpoint) => reply.bulk(endpoint.as_bytes()),
        None => reply.null(),
    }
    reply.integer(i64::from(node.port));
    reply.bulk(node.id.bytes());
    let kind = viewer.config.cluster_preferred_endpoint_type;
    let known = |is_shown: bool, name, value| Some((name, value)).filter(|_| is_shown);
    let hostname = &node.node.hostname;
    let facts = [
        known(kind != EndpointType::Ip, "ip", &node.ip),
        known(kind != EndpointType::Hostname && !hostname.is_empty(), "hostname", hostname),
        known(!node.node.zone.is_empty(), "availability-zone", &node.node.zone),
    ];
    reply.map(facts.iter().flatten().count());
    for (name, value) in facts.into_iter().flatten() {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

pub(super) static SHARDS: Command = Command::session(
    shards,
    Card::new("shards", Group::Cluster, "7.0.0")
        .summary("Returns the mapping of cluster slots to shards.")
        .complexity("O(N) where N is the total number of cluster nodes")
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .tips(&["nondeterministic_output"])
        .history(&[(
            "9.1.0",
            "Added shard level `id` field and node level `availability-zone` field.",
        )]),
);

fn shards(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, process, reply| {
        let mut groups: Vec<Vec<SeenNode>> = Vec::new();
        for node in viewer.all(nodes) {
            let of = groups.iter_mut().find(|group| group[0].shard_id == node.shard_id);
            match of {
                Some(group) => group.push(node),
                None => groups.push(vec![node]),
            }
        }
        reply.array(groups.len());
        for group in groups {
            reply.map(3);
            reply.bulk(b"slots");
            let owner = group.iter().find(|node| !node.ranges.is_empty());
            let ranges = owner.map_or(&[][..], |node| &node.ranges);
            reply.array(2 * ranges.len());
            for slot in ranges.iter().flat_map(|(first, last)| [first, last]) {
                reply.integer(i64::from(*slot));
            }
            reply.bulk(b"nodes");
            reply.array(group.len());
            group.iter().for_each(|node| show_details(viewer, (nodes, node), process, reply));
            reply.bulk(b"id");
            reply.bulk(group[0].shard_id.bytes());
        }
        Ok(())
    })
}

/// Writes the map about one node of a shard.
fn show_details(
    viewer: &Viewer<'_>,
    (nodes, seen): (&Nodes, &SeenNode),
    process: &Process,
    reply: &mut Reply<'_>,
) {
    let node = &seen.node;
    let is_mine = node.id == nodes.me().id;
    let offset = if is_mine { process.replication().offset } else { 0 };
    let health = match node.is_replica() {
        _ if node.flags.has(NodeFlags::FAILED) => "fail",
        true if offset == 0 => "loading",
        _ => "online",
    };
    let begin = reply.mark();
    let mut pairs = 0;
    let mut text = |reply: &mut Reply<'_>, name: &str, value: &str| {
        pairs += 1;
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    };
    text(reply, "id", &seen.id.to_string());
    let mut numbers = 0;
    let both = [false, true].map(|is_tls| Viewer { is_tls, ..*viewer }.port_of(nodes, seen));
    let has = [node.port != 0, node.tls_port != 0];
    for (name, port, _) in
        [("port", both[0], has[0]), ("tls-port", both[1], has[1])].into_iter().filter(|it| it.2)
    {
        numbers += 1;
        reply.bulk(name.as_bytes());
        reply.integer(i64::from(port));
    }
    text(reply, "ip", &seen.ip);
    text(reply, "endpoint", viewer.endpoint(node, &seen.ip).unwrap_or_default());
    if !node.hostname.is_empty() {
        text(reply, "hostname", &node.hostname);
    }
    text(reply, "role", if node.is_replica() { "replica" } else { "master" });
    numbers += 1;
    reply.bulk(b"replication-offset");
    reply.integer(offset as i64);
    text(reply, "health", health);
    if !node.zone.is_empty() {
        text(reply, "availability-zone", &node.zone);
    }
    reply.map_since(begin, pairs + numbers);
}

pub(super) static NODES: Command = Command::session(
    nodes,
    Card::new("nodes", Group::Cluster, "3.0.0")
        .summary("Returns the cluster configuration for a node.")
        .complexity("O(N) where N is the total number of Cluster nodes")
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .tips(&["nondeterministic_output"]),
);

fn nodes(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, _, reply| {
        let mut text = String::new();
        for node in viewer.all(nodes) {
            text.push_str(&node.line(nodes));
            text.push('\n');
        }
        reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}

pub(super) static REPLICAS: Command = Command::session(
    replicas,
    replicas_card("replicas", "5.0.0").summary("Lists the replica nodes of a primary node."),
);

pub(super) static SLAVES: Command = Command::session(
    replicas,
    replicas_card("slaves", "3.0.0")
        .summary("Lists the replica nodes of a primary node.")
        .deprecated("5.0.0", "`CLUSTER REPLICAS`"),
);

const fn replicas_card(name: &'static str, since: &'static str) -> Card {
    Card::new(name, Group::Cluster, since)
        .complexity("O(N) where N is the number of replicas.")
        .arity(3)
        .flags(Flag::ADMIN.and(Flag::STALE))
        .tips(&["nondeterministic_output"])
        .args(NODE_ID)
}

const NODE_ID: &[Arg] = &[Arg::string("node-id")];

fn replicas(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, _, reply| {
        let seen = viewer.all(nodes);
        let is_it = |node: &&SeenNode| node.id.bytes() == &args[2];
        let primary = seen.iter().find(is_it).ok_or_else(|| unknown_node(&args[2]))?;
        if primary.node.is_replica() {
            return Err(Error::other("ERR The specified node is not a master"));
        }
        let lines = seen.iter().filter(|node| node.node.primary == Some(primary.id));
        let lines: Vec<String> = lines.map(|node| node.line(nodes)).collect();
        reply.array(lines.len());
        lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
        Ok(())
    })
}

/// Returns the error about a node that is not known.
pub(super) fn unknown_node(id: &[u8]) -> Error {
    Error::quoting(&[b"ERR Unknown node ", id])
}

pub(super) static COUNT_FAILURE_REPORTS: Command = Command::session(
    count_failure_reports,
    Card::new("count-failure-reports", Group::Cluster, "3.0.0")
        .summary(
            "Returns the number of active failure reports for a node. No new reports are created \
             once the node is marked as failed.",
        )
        .complexity("O(N) where N is the number of failure reports")
        .arity(3)
        .flags(Flag::ADMIN.and(Flag::STALE))
        .tips(&["nondeterministic_output"])
        .history(&[(
            "9.0.0",
            "Ignore additional failure reports for a node which has been marked as failed.",
        )])
        .args(&[Arg::string("node-id")]),
);

/// Without a bus no node reports anything.
fn count_failure_reports(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, _, reply| {
        let is_known = viewer.all(nodes).iter().any(|node| node.id.bytes() == &args[2]);
        if !is_known {
            return Err(unknown_node(&args[2]));
        }
        reply.integer(0);
        Ok(())
    })
}

pub(super) static INFO: Command = Command::session(
    info,
    Card::new("info", Group::Cluster, "3.0.0")
        .summary("Returns information about the state of a node.")
        .constant_time()
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .tips(&["nondeterministic_output"]),
);

fn info(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, _, reply| {
        let mut text = String::new();
        for (name, value) in info_fields(nodes, &viewer.all(nodes), viewer.config) {
            let _ = write!(text, "{name}:{value}\r\n");
        }
        reply.verbatim("txt", text.as_bytes());
        Ok(())
    })
}

/// Returns the fields of CLUSTER INFO in their order.
pub(in crate::commands) fn info_fields(
    nodes: &Nodes,
    seen: &[SeenNode],
    config: &Config,
) -> Vec<(&'static str, String)> {
    let is_up = nodes.is_up(config.cluster_require_full_coverage);
    let slots = |node: &SeenNode| -> u64 {
        node.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    };
    let with = |flag: NodeFlags| seen.iter().filter(move |node| node.node.flags.has(flag));
    let sum = |flag: NodeFlags| with(flag).map(slots).sum::<u64>();
    let voting = |flag: NodeFlags| {
        with(flag).filter(|node| !node.node.is_replica() && slots(node) > 0).count() as u64
    };
    let assigned: u64 = seen.iter().map(slots).sum();
    let (failed, may_have) = (NodeFlags::FAILED, NodeFlags::MAY_HAVE_FAILED);
    let size = seen.iter().filter(|it| !it.node.is_replica() && slots(it) > 0).count() as u64;
    let numbers: [(&'static str, u64); 12] = [
        ("cluster_slots_assigned", assigned),
        ("cluster_slots_ok", assigned - sum(failed).max(sum(may_have))),
        ("cluster_slots_pfail", sum(may_have)),
        ("cluster_slots_fail", sum(failed)),
        ("cluster_nodes_pfail", with(may_have).count() as u64),
        ("cluster_nodes_fail", with(failed).count() as u64),
        ("cluster_voting_nodes_pfail", voting(may_have)),
        ("cluster_voting_nodes_fail", voting(failed)),
        ("cluster_known_nodes", seen.len() as u64),
        ("cluster_size", size),
        ("cluster_current_epoch", nodes.current_epoch),
        ("cluster_my_epoch", nodes.me().config_epoch),
    ];
    // Nothing has been sent over a bus.
    let nothing = [
        "cluster_stats_messages_sent",
        "cluster_stats_messages_received",
        "cluster_stats_bytes_sent",
        "cluster_stats_bytes_received",
        "cluster_stats_pubsub_bytes_sent",
        "cluster_stats_pubsub_bytes_received",
        "cluster_stats_module_bytes_sent",
        "cluster_stats_module_bytes_received",
        "total_cluster_links_buffer_limit_exceeded",
    ];
    let state = ("cluster_state", if is_up { "ok" } else { "fail" }.to_string());
    let numbers = numbers.into_iter().chain(nothing.map(|name| (name, 0)));
    let numbers = numbers.map(|(name, number)| (name, number.to_string()));
    std::iter::once(state).chain(numbers).collect()
}

pub(super) static LINKS: Command = Command::session(
    links,
    Card::new("links", Group::Cluster, "7.0.0")
        .summary("Returns a list of all TCP links to and from peer nodes.")
        .complexity("O(N) where N is the total number of Cluster nodes")
        .arity(2)
        .flags(Flag::STALE)
        .tips(&["nondeterministic_output"]),
);

/// Without a bus there are no links.
fn links(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    nodes_of(cx)?;
    cx.reply.array(0);
    Ok(())
}

pub(super) static MYID: Command = Command::session(
    my_id,
    Card::new("myid", Group::Cluster, "3.0.0")
        .summary("Returns the ID of a node.")
        .constant_time()
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE)),
);

fn my_id(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, _, reply| {
        reply.bulk(viewer.me(nodes).id.bytes());
        Ok(())
    })
}

pub(super) static MYSHARDID: Command = Command::session(
    my_shard_id,
    Card::new("myshardid", Group::Cluster, "7.2.0")
        .summary("Returns the shard ID of a node.")
        .constant_time()
        .arity(2)
        .flags(Flag::LOADING.and(Flag::STALE))
        .tips(&["nondeterministic_output"]),
);

fn my_shard_id(cx: &mut SessionContext<'_>, _args: &mut Args<'_>) -> Result<(), Error> {
    with_view(cx, |nodes, viewer, _, reply| {
        reply.bulk(viewer.me(nodes).shard_id.bytes());
        Ok(())
    })
}

pub(super) static KEYSLOT: Command = Command::session(
    key_slot,
    Card::new("keyslot", Group::Cluster, "3.0.0")
        .summary("Returns the hash slot for a key.")
        .complexity("O(N) where N is the number of bytes in the key")
        .steady()
        .arity(3)
        .flags(Flag::STALE)
        .args(&[Arg::string("key")]),
);

fn key_slot(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    nodes_of(cx)?;
    cx.reply.integer(i64::from(slot_of(&args[2])));
    Ok(())
}

pub(super) static HELP: Command =
    Command::session(show_help, crate::commands::help::help_card(Group::Cluster, "5.0.0"));

fn show_help(cx: &mut SessionContext<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if !cx.process.config.snapshot().has_nodes() {
        return Err(Error::other(CLUSTER_DISABLED));
    }
    help(cx, args)
}
