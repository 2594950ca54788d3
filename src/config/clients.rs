//! Settings of client connections: number, time and memory.

use super::card::{Applied, Kind, Setting, Value, any_text, field};
use super::choice::AclPubsubDefault;
use super::number::parse_loose;
use crate::base::number::parse_memory;

/// When a client that does not read its replies is disconnected. Zero turns a limit off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Unsent reply bytes beyond which the client is disconnected at once.
    pub hard_bytes: u64,
    /// Unsent reply bytes beyond which the client is disconnected ...
    pub soft_bytes: u64,
    /// ... after this many seconds without interruption.
    pub soft_seconds: u64,
}

/// The limits of `client-output-buffer-limit`, by class of client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients with subscriptions.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// Returns the text that CONFIG GET shows.
    pub(super) fn text(&self) -> String {
        let [normal, replica, pubsub] = [self.normal, self.replica, self.pubsub].map(|limit| {
            format!("{} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        });
        format!("normal {normal} slave {replica} pubsub {pubsub}")
    }
}

const QUERY_BUFFER_BYTES_MIN: i128 = 1 << 20;
const BULK_BYTES_MIN: i128 = 1 << 20;
const LONG_MAX: i128 = i64::MAX as i128;
const OUTPUT_LIMITS: &str = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("maxclients", Kind::Int(1, u32::MAX as i128), "10000", field!(maxclients))
        .apply(Applied::Descriptors),
    Setting::new(
        "tracking-table-max-keys",
        Kind::Int(0, LONG_MAX),
        "1000000",
        field!(tracking_table_max_keys),
    )
    .shards_settle(),
    Setting::new("timeout", Kind::Int(0, i32::MAX as i128), "0", field!(timeout)),
    Setting::new(
        "authentication-timeout",
        Kind::Int(0, i32::MAX as i128),
        "60",
        field!(authentication_timeout),
    ),
    Setting::new(
        "proto-max-bulk-len",
        Kind::Memory(BULK_BYTES_MIN, LONG_MAX),
        "512mb",
        field!(proto_max_bulk_len),
    ),
    Setting::new(
        "client-query-buffer-limit",
        Kind::Memory(QUERY_BUFFER_BYTES_MIN, LONG_MAX),
        "1gb",
        field!(client_query_buffer_limit),
    ),
    Setting::new(
        "client-output-buffer-limit",
        Kind::Words(read_output_limits),
        OUTPUT_LIMITS,
        field!(client_output_buffer_limit),
    ),
    Setting::new(
        "maxmemory-clients",
        Kind::MemoryOrPercent(LONG_MAX),
        "0",
        field!(maxmemory_clients),
    )
    .shards_settle(),
    Setting::new("requirepass", Kind::Text(any_text), "", field!(requirepass))
        .sensitive()
        .apply(Applied::Password),
    Setting::new("aclfile", Kind::Text(any_text), "", field!(aclfile)).immutable(),
    Setting::new(
        "acl-pubsub-default",
        Kind::Choice(AclPubsubDefault::WORDS),
        "resetchannels",
        field!(acl_pubsub_default),
    ),
    Setting::new("acllog-max-len", Kind::Int(0, LONG_MAX), "128", field!(acllog_max_len)),
];

/// Parses groups of class, hard limit, soft limit and soft seconds. Other classes stay unchanged.
fn read_output_limits(args: &[&[u8]], now: &Value) -> Result<Value, String> {
    let Value::OutputLimits(mut limits) = *now else { panic!("the present value has this kind") };
    let wrong = |what: &str| Err(format!("{what} in buffer limit configuration."));
    if !args.len().is_multiple_of(4) {
        return wrong("Wrong number of arguments");
    }
    for four in args.chunks_exact(4) {
        let class = match four[0].to_ascii_lowercase().as_slice() {
            b"normal" => &mut limits.normal,
            b"slave" | b"replica" => &mut limits.replica,
            b"pubsub" => &mut limits.pubsub,
            _ => return wrong("Invalid client class specified"),
        };
        let seconds = parse_loose(four[3], 10).and_then(|n| u64::try_from(n).ok());
        let numbers = (parse_memory(four[1]), parse_memory(four[2]), seconds);
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) = numbers else {
            return wrong("Error in hard, soft or soft_seconds setting");
        };
        *class = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
    }
    Ok(Value::OutputLimits(limits))
}
