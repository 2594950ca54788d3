//! One node of the cluster.

use super::id::NodeId;
use crate::config::Config;

/// Distance from a node's data port to the port of its cluster bus.
pub const BUS_PORT_DISTANCE: u16 = 10_000;

/// What is known about the role and the health of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFlags(u8);

impl NodeFlags {
    /// It serves slots, or may serve some.
    pub const PRIMARY: NodeFlags = NodeFlags(1);
    /// It copies the data of a primary.
    pub const REPLICA: NodeFlags = NodeFlags(1 << 1);
    /// It does not answer this node.
    pub const MAY_HAVE_FAILED: NodeFlags = NodeFlags(1 << 2);
    /// A majority of primaries says that it does not answer.
    pub const FAILED: NodeFlags = NodeFlags(1 << 3);
    /// It has not introduced itself yet.
    pub const HANDSHAKE: NodeFlags = NodeFlags(1 << 4);
    /// Its address is not known.
    pub const NO_ADDRESS: NodeFlags = NodeFlags(1 << 5);
    /// It never replaces its primary.
    pub const NO_FAILOVER: NodeFlags = NodeFlags(1 << 6);

    /// The flags in the order in which they are shown, with their names in the file.
    const NAMES: [(NodeFlags, &'static str); 7] = [
        (NodeFlags::PRIMARY, "master"),
        (NodeFlags::REPLICA, "slave"),
        (NodeFlags::MAY_HAVE_FAILED, "fail?"),
        (NodeFlags::FAILED, "fail"),
        (NodeFlags::HANDSHAKE, "handshake"),
        (NodeFlags::NO_ADDRESS, "noaddr"),
        (NodeFlags::NO_FAILOVER, "nofailover"),
    ];

    /// Returns whether all flags of `other` are set.
    pub fn has(self, other: NodeFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the flags of `other`.
    pub fn add(&mut self, other: NodeFlags) {
        self.0 |= other.0;
    }

    /// Returns the flags with this name in the file; none if there is no such name.
    pub fn named(name: &str) -> Option<NodeFlags> {
        let name = name.to_ascii_lowercase();
        match &name[..] {
            "noflags" => Some(NodeFlags::default()),
            "primary" => Some(NodeFlags::PRIMARY),
            "replica" => Some(NodeFlags::REPLICA),
            "noaddr" => Some(NodeFlags(NodeFlags::NO_ADDRESS.0 | NodeFlags::FAILED.0)),
            name => NodeFlags::NAMES.iter().find(|(_, own)| *own == name).map(|(flag, _)| *flag),
        }
    }

    /// Returns the names of the flags that are set, separated by commas. `is_me` adds the mark of
    /// the node that shows them.
    pub fn text(self, is_me: bool) -> String {
        let names = NodeFlags::NAMES.iter().filter(|(flag, _)| self.has(*flag));
        let names = is_me.then_some("myself").into_iter().chain(names.map(|(_, name)| *name));
        let text = names.collect::<Vec<_>>().join(",");
        if text.is_empty() { "noflags".to_string() } else { text }
    }
}

/// A node of the cluster. An address that is not known is empty, a port that is not known 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Id of its shard of the cluster: a primary with its replicas.
    pub shard_id: NodeId,
    /// Its address.
    pub ip: String,
    /// Its data port.
    pub port: u16,
    /// Its data port with TLS.
    pub tls_port: u16,
    /// The port of its cluster bus.
    pub bus_port: u16,
    /// Its host name.
    pub hostname: String,
    /// Its name in logs.
    pub name: String,
    /// Its availability zone.
    pub zone: String,
    /// Its addresses for clients that have connected by IPv4 and by IPv6.
    pub client_ips: [String; 2],
    /// Its port for clients, without TLS and with it.
    pub client_ports: [u16; 2],
    /// Its role and health.
    pub flags: NodeFlags,
    /// The primary of a replica.
    pub primary: Option<NodeId>,
    /// Unix milliseconds of the last ping without an answer; 0 for none.
    pub ping_sent_ms: u64,
    /// Unix milliseconds of the last answer; 0 for none.
    pub pong_received_ms: u64,
    /// The version of the slots that it claims.
    pub config_epoch: u64,
}

impl Node {
    /// Creates a node with nothing but its ids.
    pub fn new(id: NodeId, shard_id: NodeId) -> Node {
        Node {
            id,
            shard_id,
            ip: String::new(),
            port: 0,
            tls_port: 0,
            bus_port: 0,
            hostname: String::new(),
            name: String::new(),
            zone: String::new(),
            client_ips: Default::default(),
            client_ports: Default::default(),
            flags: NodeFlags::default(),
            primary: None,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: 0,
        }
    }

    /// Takes the addresses that the settings say for this process.
    pub fn announce(&mut self, config: &Config) {
        let or = |own: u16, other: u16| if own == 0 { other } else { own };
        if !config.cluster_announce_ip.is_empty() {
            self.ip.clone_from(&config.cluster_announce_ip);
        }
        self.port = or(config.cluster_announce_port, config.port);
        self.tls_port = or(config.cluster_announce_tls_port, config.tls_port);
        let bus_port = or(config.cluster_port, config.port.saturating_add(BUS_PORT_DISTANCE));
        self.bus_port = or(config.cluster_announce_bus_port, bus_port);
        self.hostname.clone_from(&config.cluster_announce_hostname);
        self.name.clone_from(&config.cluster_announce_human_nodename);
        self.zone = lossy(config.text("availability-zone").unwrap_or_default());
        self.client_ips = [
            config.cluster_announce_client_ipv4.clone(),
            config.cluster_announce_client_ipv6.clone(),
        ];
        self.client_ports =
            [config.cluster_announce_client_port, config.cluster_announce_client_tls_port];
    }

    /// Returns whether the node is a replica.
    pub fn is_replica(&self) -> bool {
        self.flags.has(NodeFlags::REPLICA)
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
