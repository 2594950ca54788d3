//! The nodes as one client sees them: with the addresses that are meant for it, and with a node for
//! each shard of this process if shards have ports of their own.
//!
//! ```text
//!   port 7000, 3 shards        shard 0   7001   id of the node
//!   cluster-shard-ports yes    shard 1   7002   id derived from it, see NodeId::of_shard
//!                              shard 2   7003
//! ```
//! Each shard has the slots of its partition that this process serves.

use super::id::NodeId;
use super::node::Node;
use super::nodes::Nodes;
use super::text::{add_openings, add_ranges, tail};
use crate::base::slot_map::{SlotMap, SlotSet};
use crate::config::{Config, EndpointType};
use std::fmt::Write;

/// The client, and what decides how it sees the nodes.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a> {
    /// The settings.
    pub config: &'a Config,
    /// Address and port of this side of its connection, separated by a colon.
    pub local_address: &'a str,
    /// Whether the client has connected with TLS, and is told the ports of TLS.
    pub is_tls: bool,
    /// The slots of the shards of this process.
    pub map: &'a SlotMap,
    /// The shard whose port the client has connected to; none for the main port.
    pub shard: Option<u16>,
}

/// A node as a client sees it.
#[derive(Clone, Debug)]
pub struct SeenNode {
    /// The node, as it announces itself.
    pub node: Node,
    /// Its number.
    number: usize,
    /// The shard of this process that it stands for.
    shard: usize,
    /// Its id, or the id of its shard.
    pub id: NodeId,
    /// Id of its shard of the cluster.
    pub shard_id: NodeId,
    /// Its address for this client; may be empty.
    pub ip: String,
    /// Its port for this client.
    pub port: u16,
    /// Its slots in ranges, both ends included.
    pub ranges: Vec<(u16, u16)>,
    /// Whether the client has asked this node.
    pub is_me: bool,
}

impl<'a> Viewer<'a> {
    /// Returns all nodes.
    pub fn all(&self, nodes: &Nodes) -> Vec<SeenNode> {
        let numbers = 0..nodes.all().len();
        numbers.flat_map(|number| self.seen(nodes, number)).collect()
    }

    /// Returns the node that the client has asked.
    pub fn me(&self, nodes: &Nodes) -> SeenNode {
        let mut mine = self.seen(nodes, nodes.my_number());
        let at = mine.iter().position(|node| node.is_me).expect("a node sees itself");
        mine.swap_remove(at)
    }

    /// Returns the port of a node that another client of this process sees.
    pub fn port_of(&self, nodes: &Nodes, seen: &SeenNode) -> u16 {
        let is_mine = seen.number == nodes.my_number();
        self.reached_at(&seen.node, is_mine.then_some(seen.shard)).1
    }

    /// Returns endpoint and port of a node, or of one shard of this process, as redirections name
    /// them.
    pub fn address(&self, nodes: &Nodes, number: usize, shard: usize) -> (String, u16) {
        let node = self.announced(nodes, number);
        let is_mine = number == nodes.my_number();
        let (ip, port) = self.reached_at(&node, is_mine.then_some(shard));
        (self.endpoint(&node, &ip).unwrap_or_default().to_string(), port)
    }

    /// Returns the endpoint of a node whose address for the client is `ip`; none if clients are
    /// told nothing.
    pub fn endpoint<'n>(&self, node: &'n Node, ip: &'n str) -> Option<&'n str> {
        match self.config.cluster_preferred_endpoint_type {
            EndpointType::Ip => Some(ip),
            EndpointType::Hostname if node.hostname.is_empty() => Some("?"),
            EndpointType::Hostname => Some(&node.hostname),
            EndpointType::Unknown => None,
        }
    }

    fn announced(&self, nodes: &Nodes, number: usize) -> Node {
        let mut node = nodes.all()[number].clone();
        if number == nodes.my_number() {
            node.announce(self.config);
        }
        node
    }

    /// Returns the number of nodes as which this process appears.
    fn faces(&self) -> usize {
        if self.config.cluster_shard_ports { self.map.partitions() } else { 1 }
    }

    /// Returns the address and the port by which the client reaches a node. `shard` is given for
    /// this process.
    fn reached_at(&self, node: &Node, shard: Option<usize>) -> (String, u16) {
        let is_v6 = self.local_address.starts_with('[');
        let own = &node.client_ips[usize::from(is_v6)];
        let mut ip = if own.is_empty() { node.ip.clone() } else { own.clone() };
        let client_port = node.client_ports[usize::from(self.is_tls)];
        let mut port = match (client_port, self.is_tls) {
            (0, false) => node.port,
            (0, true) => node.tls_port,
            (port, _) => port,
        };
        if let Some(shard) = shard.filter(|_| self.config.cluster_shard_ports) {
            port = port.saturating_add(1 + shard as u16);
            if ip.is_empty() {
                // The client has reached this process by that address.
                ip = self.own_ip().to_string();
            }
        }
        (ip, port)
    }

    /// Returns the address of this side of the connection; empty if it has none.
    fn own_ip(&self) -> &'a str {
        let ip = self.local_address.rsplit_once(':').map_or("", |(ip, _)| ip);
        ip.trim_start_matches('[').trim_end_matches(']')
    }

    fn seen(&self, nodes: &Nodes, number: usize) -> Vec<SeenNode> {
        let node = self.announced(nodes, number);
        let ranges = nodes.ranges(number);
        let is_mine = number == nodes.my_number();
        let faces = if is_mine { self.faces() } else { 1 };
        let asked = usize::from(self.shard.unwrap_or(0));
        let face = |shard: usize| {
            let (ip, port) = self.reached_at(&node, is_mine.then_some(shard));
            SeenNode {
                node: node.clone(),
                number,
                shard,
                id: node.id.of_shard(shard),
                shard_id: node.shard_id.of_shard(shard),
                ip,
                port,
                ranges: if faces > 1 {
                    within(&ranges, self.map.slots(shard))
                } else {
                    ranges.clone()
                },
                is_me: is_mine && shard == asked.min(faces - 1),
            }
        };
        (0..faces).map(face).collect()
    }
}

/// Returns the parts of ranges that belong to one shard.
fn within(ranges: &[(u16, u16)], own: &SlotSet) -> Vec<(u16, u16)> {
    let cut = |(first, last): (u16, u16)| {
        let is_far = move |own: &(u16, u16)| own.0 <= last;
        let common = move |own: (u16, u16)| (first.max(own.0), last.min(own.1));
        own.ranges().skip_while(move |own| own.1 < first).take_while(is_far).map(common)
    };
    ranges.iter().flat_map(|range| cut(*range)).collect()
}

impl SeenNode {
    /// Returns the line of CLUSTER NODES, without line end.
    pub fn line(&self, nodes: &Nodes) -> String {
        let SeenNode { id, ip, port, node, .. } = self;
        let mut line = format!("{id} {ip}:{port}@{}", node.bus_port);
        if !node.hostname.is_empty() {
            let _ = write!(line, ",{}", node.hostname);
        }
        let _ = write!(line, " {}", tail(nodes, self.number, self.is_me));
        add_ranges(&mut line, &self.ranges);
        if self.is_me {
            add_openings(&mut line, nodes, |_| true);
        }
        line
    }
}
