//! Settings of the cluster: the node's file, what it announces, what it serves while slots are
//! missing, and the ports of the shards.

use super::card::{Kind, Setting, any_text, field};
use super::{EndpointType, SaveBehavior};
use std::net::{Ipv4Addr, Ipv6Addr};

const PORT: Kind = Kind::Int(0, 65_535);
const DATABASES: Kind = Kind::Int(1, i32::MAX as i128);
const SAVE_BEHAVIOR: Kind = Kind::Choice(SaveBehavior::WORDS);
const ENDPOINT: Kind = Kind::Choice(EndpointType::WORDS);

/// The cards of these settings.
#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("cluster-enabled", Kind::Bool, "no", field!(cluster_enabled)).immutable(),
    Setting::new("cluster-shard-ports", Kind::Bool, "no", field!(cluster_shard_ports)).own(),
    Setting::new("cluster-databases", DATABASES, "1", field!(cluster_databases)).immutable(),
    Setting::new(
        "cluster-slot-stats-enabled",
        Kind::Bool,
        "no",
        field!(cluster_slot_stats_enabled),
    ).shards_settle(),
    Setting::new("cluster-port", PORT, "0", field!(cluster_port)).immutable(),
    Setting::new(
        "cluster-config-file",
        Kind::Text(read_config_file),
        "nodes.conf",
        field!(cluster_config_file),
    ).immutable(),
    Setting::new(
        "cluster-config-save-behavior",
        SAVE_BEHAVIOR,
        "sync",
        field!(cluster_config_save_behavior),
    ),
    Setting::new(
        "cluster-require-full-coverage",
        Kind::Bool,
        "yes",
        field!(cluster_require_full_coverage),
    ),
    Setting::new(
        "cluster-allow-reads-when-down",
        Kind::Bool,
        "no",
        field!(cluster_allow_reads_when_down),
    ),
    Setting::new(
        "cluster-allow-pubsubshard-when-down",
        Kind::Bool,
        "yes",
        field!(cluster_allow_pubsubshard_when_down),
    ),
    Setting::new(
        "cluster-announce-ip",
        Kind::Text(read_ip),
        "",
        field!(cluster_announce_ip),
    ),
    Setting::new(
        "cluster-announce-client-ipv4",
        Kind::Text(read_ipv4),
        "",
        field!(cluster_announce_client_ipv4),
    ),
    Setting::new(
        "cluster-announce-client-ipv6",
        Kind::Text(read_ipv6),
        "",
        field!(cluster_announce_client_ipv6),
    ),
    Setting::new(
        "cluster-announce-hostname",
        Kind::Text(read_hostname),
        "",
        field!(cluster_announce_hostname),
    ),
    Setting::new(
        "cluster-announce-human-nodename",
        Kind::Text(read_name),
        "",
        field!(cluster_announce_human_nodename),
    ),
    Setting::new("cluster-announce-port", PORT, "0", field!(cluster_announce_port)),
    Setting::new("cluster-announce-tls-port", PORT, "0", field!(cluster_announce_tls_port)),
    Setting::new("cluster-announce-bus-port", PORT, "0", field!(cluster_announce_bus_port)),
    Setting::new("cluster-announce-client-port", PORT, "0", field!(cluster_announce_client_port)),
    Setting::new(
        "cluster-announce-client-tls-port",
        PORT,
        "0",
        field!(cluster_announce_client_tls_port),
    ),
    Setting::new(
        "cluster-preferred-endpoint-type",
        ENDPOINT,
        "ip",
        field!(cluster_preferred_endpoint_type),
    ),
];

fn read_config_file(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() {
        return Err("cluster-config-file can't be empty");
    }
    any_text(name)
}

fn read_ipv4(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let address = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv4Addr>().ok());
    if text.is_empty() || address.is_some() {
        return any_text(text);
    }
    Err("Invalid IPv4 address")
}

fn read_ipv6(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let address = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    if text.is_empty() || address.is_some() {
        return any_text(text);
    }
    Err("Invalid IPv6 address")
}

/// Returns whether a byte may appear in a field of the cluster's file of nodes.
pub fn is_announceable(byte: &u8) -> bool {
    *byte > b',' && *byte != 0x7f && !b";<=>?@[]^{|}~\\".contains(byte)
}

fn read_ip(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    const IP_BYTES_MAX: usize = 45;
    if text.len() > IP_BYTES_MAX {
        return Err("cluster-announce-ip is too long");
    }
    if !text.iter().all(is_announceable) {
        return Err("cluster-announce-ip contains invalid character");
    }
    any_text(text)
}

fn read_name(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    if !text.iter().all(is_announceable) {
        return Err("Announced human node name contained invalid character");
    }
    any_text(text)
}

fn read_hostname(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    const HOSTNAME_BYTES_MAX: usize = 255;
    if text.len() > HOSTNAME_BYTES_MAX {
        return Err("Hostnames must be less than 256 characters");
    }
    if !text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte)) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    any_text(text)
}
