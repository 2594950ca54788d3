//! The text of nodes.conf, which CLUSTER NODES shows in a shorter form.
//!
//! ```text
//!   <id> <ip>:<port>@<bus port>,<hostname>,<name>=<value>... <flags> <primary> <ping> <pong>
//!       <epoch> <link> <slot> <first>-<last> [<slot>->-<id>] [<slot>-<-<id>]
//!   vars currentEpoch <number> lastVoteEpoch <number>
//! ```
//! Each node is one line. A slot that leaves has `->-`, a slot that comes has `-<-`.

use super::id::NodeId;
use super::node::{BUS_PORT_DISTANCE, Node, NodeFlags};
use super::nodes::{NODES_MAX, Nodes, Opening};
use crate::base::slot::SLOT_COUNT;
use crate::config::{Config, is_announceable, split_words};
use std::fmt::Write;

/// Fields of a line before the slots.
const FIELDS: usize = 8;

/// The line of a node from its flags to its link.
pub(super) fn tail(nodes: &Nodes, number: usize, is_me: bool) -> String {
    let node = &nodes.all()[number];
    let primary = node.primary.and_then(|id| nodes.find(id.bytes()));
    let epoch = primary.map_or(node, |at| &nodes.all()[at]).config_epoch;
    let flags = node.flags.text(is_me);
    let primary = node.primary.map_or("-".to_string(), |id| id.to_string());
    // Without a bus there is no link to any other node.
    let link = if number == nodes.my_number() { "connected" } else { "disconnected" };
    let (ping, pong) = (node.ping_sent_ms, node.pong_received_ms);
    format!("{flags} {primary} {ping} {pong} {epoch} {link}")
}

/// Appends slots in ranges.
pub(super) fn add_ranges(line: &mut String, ranges: &[(u16, u16)]) {
    for (first, last) in ranges {
        let _ = match first == last {
            true => write!(line, " {first}"),
            false => write!(line, " {first}-{last}"),
        };
    }
}

/// Appends the open slots that `is_shown` selects.
pub(super) fn add_openings(line: &mut String, nodes: &Nodes, is_shown: impl Fn(u16) -> bool) {
    for (slot, opening) in nodes.openings().filter(|(slot, _)| is_shown(*slot)) {
        let _ = match opening {
            Opening::Migrating(to) => write!(line, " [{slot}->-{}]", nodes.all()[to].id),
            Opening::Importing(from) => write!(line, " [{slot}-<-{}]", nodes.all()[from].id),
        };
    }
}

impl Nodes {
    /// Returns the text of nodes.conf. This process announces what the settings say.
    pub fn file_text(&self, config: &Config) -> String {
        let mut text = String::new();
        for (number, node) in self.all().iter().enumerate() {
            if node.flags.has(NodeFlags::HANDSHAKE) {
                continue;
            }
            let is_me = number == self.my_number();
            let mut node = node.clone();
            if is_me {
                node.announce(config);
            }
            add_address(&mut text, &node);
            text.push_str(&tail(self, number, is_me));
            add_ranges(&mut text, &self.ranges(number));
            if is_me {
                add_openings(&mut text, self, |_| true);
            }
            text.push('\n');
        }
        let (current, vote) = (self.current_epoch, self.last_vote_epoch);
        let _ = writeln!(text, "vars currentEpoch {current} lastVoteEpoch {vote}");
        text
    }

    /// Parses the text of nodes.conf. An error is the line that is wrong.
    pub fn parse(text: &str) -> Result<Nodes, String> {
        let mut reader = Reader::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            reader.line(line).ok_or_else(|| line.to_string())?;
        }
        reader.end().ok_or_else(|| "no node is marked as this one".to_string())
    }
}

/// Appends the id and the address of a node with all that the file keeps about it.
fn add_address(text: &mut String, node: &Node) {
    let Node { id, ip, port, bus_port, hostname, .. } = node;
    let _ = write!(text, "{id} {ip}:{port}@{bus_port},{hostname}");
    let [ipv4, ipv6] = &node.client_ips;
    let [client_port, client_tls_port] = node.client_ports;
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(text, ",{name}={value}");
        }
    };
    let number = |port: u16| if port == 0 { String::new() } else { port.to_string() };
    add("availability-zone", &node.zone);
    add("client-tls-port", &number(client_tls_port));
    add("client-tcp-port", &number(client_port));
    add("client-ipv6", ipv6);
    add("client-ipv4", ipv4);
    add("tls-port", &node.tls_port.to_string());
    add("nodename", &node.name);
    add("shard-id", &node.shard_id.to_string());
    text.push(' ');
}

/// Reads the lines of the file. A line may name nodes whose own lines follow later.
#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    /// For each node, whether its line was read.
    is_read: Vec<bool>,
    me: Option<usize>,
    slots: Vec<(u16, u16, usize)>,
    openings: Vec<(u16, Opening)>,
    epochs: [u64; 2],
}

impl Reader {
    fn line(&mut self, line: &str) -> Option<()> {
        let words = split_words(line.as_bytes())?;
        let words: Option<Vec<String>> =
            words.into_iter().map(|word| String::from_utf8(word).ok()).collect();
        let words = words?;
        if words[0].eq_ignore_ascii_case("vars") {
            return self.variables(&words[1..]);
        }
        let (fields, slots) = words.split_at_checked(FIELDS)?;
        let number = self.node(&fields[0])?;
        if std::mem::replace(&mut self.is_read[number], true) {
            return None;
        }
        let node = &mut self.nodes[number];
        read_address(&fields[1], node)?;
        for name in fields[2].split(',') {
            if name.eq_ignore_ascii_case("myself") {
                if self.me.replace(number).is_some() {
                    return None;
                }
            } else {
                self.nodes[number].flags.add(NodeFlags::named(name)?);
            }
        }
        if !fields[3].starts_with('-') {
            self.nodes[number].primary = Some(NodeId::parse(fields[3].as_bytes())?);
        }
        self.nodes[number].config_epoch = fields[6].parse().ok()?;
        slots.iter().try_for_each(|word| self.slot(number, word))
    }

    fn variables(&mut self, words: &[String]) -> Option<()> {
        for pair in words.chunks(2) {
            let [name, value] = pair else { return None };
            if name.eq_ignore_ascii_case("currentEpoch") {
                self.epochs[0] = value.parse().ok()?;
            } else if name.eq_ignore_ascii_case("lastVoteEpoch") {
                self.epochs[1] = value.parse().ok()?;
            }
        }
        Some(())
    }

    /// Returns the number of the node with this id, which is known from now on.
    fn node(&mut self, id: &str) -> Option<usize> {
        let id = NodeId::parse(id.as_bytes())?;
        if let Some(number) = self.nodes.iter().position(|node| node.id == id) {
            return Some(number);
        }
        if self.nodes.len() == NODES_MAX {
            return None;
        }
        self.nodes.push(Node::new(id, id));
        self.is_read.push(false);
        Some(self.nodes.len() - 1)
    }

    fn slot(&mut self, number: usize, word: &str) -> Option<()> {
        let slot = |text: &str| text.parse().ok().filter(|slot| *slot < SLOT_COUNT);
        if let Some(opening) = word.strip_prefix('[') {
            let (first, rest) = opening.split_once('-')?;
            let id = rest.get(2..)?.strip_suffix(']')?;
            let other = self.node(id)?;
            let opening = match &rest[..2] {
                ">-" => Opening::Migrating(other),
                "<-" => Opening::Importing(other),
                _ => return None,
            };
            self.openings.push((slot(first)?, opening));
            return Some(());
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        self.slots.push((slot(first)?, slot(last)?, number));
        Some(())
    }

    fn end(self) -> Option<Nodes> {
        let mut nodes = Nodes::of(self.nodes, self.me?);
        for (first, last, number) in self.slots {
            // As in the reference, the first line that claims a slot has it.
            (first..=last)
                .filter(|slot| nodes.owner(*slot).is_none())
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|slot| nodes.assign(slot, Some(number)));
        }
        self.openings.into_iter().for_each(|(slot, opening)| nodes.open(slot, Some(opening)));
        [nodes.current_epoch, nodes.last_vote_epoch] = self.epochs;
        nodes.current_epoch = nodes.max_epoch();
        Some(nodes)
    }
}

/// Reads `ip:port@bus-port,hostname,name=value...` into a node.
fn read_address(text: &str, node: &mut Node) -> Option<()> {
    let mut parts = text.split(',');
    let address = parts.next()?;
    node.hostname = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, value) = part.split_once('=')?;
        if !name.bytes().chain(value.bytes()).all(|byte| is_announceable(&byte)) {
            return None;
        }
        match name {
            "shard-id" => node.shard_id = NodeId::parse(value.as_bytes())?,
            "nodename" => node.name = value.to_string(),
            "tcp-port" => node.port = value.parse().ok()?,
            "tls-port" => node.tls_port = value.parse().ok()?,
            "client-ipv4" => node.client_ips[0] = value.to_string(),
            "client-ipv6" => node.client_ips[1] = value.to_string(),
            "client-tcp-port" => node.client_ports[0] = value.parse().ok()?,
            "client-tls-port" => node.client_ports[1] = value.parse().ok()?,
            "availability-zone" => node.zone = value.to_string(),
            _ => return None,
        }
    }
    let (ip, ports) = address.rsplit_once(':')?;
    node.ip = ip.to_string();
    let (port, bus_port) = match ports.split_once('@') {
        Some((port, bus_port)) => (port.parse().ok()?, bus_port.parse().ok()?),
        None => {
            let port: u16 = ports.parse().ok()?;
            (port, port.saturating_add(BUS_PORT_DISTANCE))
        }
    };
    (node.port, node.bus_port) = (port, bus_port);
    Some(())
}
