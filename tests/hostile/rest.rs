//! The server at rest: its numbers before and after the clients.

use super::server::{Server, wait_for};
use super::wire::{Wire, text};

/// Bytes that the server may use more after the run than before, besides the buffers of
/// replication, and for each shard: pools keep what they need again (`mesh::POOL_BYTES_MAX`,
/// `feed::limits::POOLED_BYTES_MAX`), tables of connections, locks and databases keep their size.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
const SHARD_GROWTH_BYTES_MAX: u64 = 10 << 20;

/// Descriptors that the server may have more after the run than before.
const DESCRIPTORS_MAX: usize = 2;

/// The numbers of a server.
#[derive(Clone)]
pub struct Rest {
    clients: u64,
    blocked: u64,
    descriptors: usize,
    used_bytes: u64,
    replication_bytes: u64,
    resident_bytes: u64,
}

impl Rest {
    pub fn of(server: &Server, wire: &mut Wire) -> Rest {
        let info = String::from_utf8_lossy(&wire.ask(&["INFO"])).into_owned();
        let number = |name: &str| field(&info, name);
        let folder = format!("/proc/{}/fd", server.child.id());
        Rest {
            clients: number("connected_clients"),
            blocked: number("blocked_clients"),
            descriptors: std::fs::read_dir(folder).map_or(0, Iterator::count),
            used_bytes: number("used_memory"),
            replication_bytes: number("mem_total_replication_buffers"),
            resident_bytes: number("used_memory_rss"),
        }
    }

    /// Returns the numbers as text.
    pub fn text(&self) -> String {
        let Rest { clients, blocked, descriptors, .. } = self;
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let (used, replication) = (mb(self.used_bytes), mb(self.replication_bytes));
        let resident = mb(self.resident_bytes);
        format!(
            "{clients} clients, {blocked} blocked, {descriptors} descriptors, {used:.1} MB used \
             ({replication:.1} MB of replication), {resident:.0} MB resident"
        )
    }

    /// Returns what of this is too much, compared with the server before the clients.
    fn surplus(&self, before: &Rest, shards: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |what: &str, now: u64, max: u64| {
            if now > max {
                found.push(format!("{what}: {now}, at most {max}"));
            }
        };
        check("connected_clients", self.clients, before.clients);
        check("blocked_clients", self.blocked, before.blocked);
        let descriptors = before.descriptors + DESCRIPTORS_MAX;
        check("file descriptors", self.descriptors as u64, descriptors as u64);
        let growth = GROWTH_BYTES_MAX + shards as u64 * SHARD_GROWTH_BYTES_MAX;
        let bytes = before.used_bytes + self.replication_bytes + growth;
        check("used_memory", self.used_bytes, bytes);
        found
    }
}

fn field(info: &str, name: &str) -> u64 {
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(field, _)| *field == name).map(|(_, value)| value.trim());
    values
        .next()
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {name}: {info}"))
}

/// Waits until the server rests as before; returns its numbers.
pub fn returns_to(before: &Rest, shards: usize, server: &Server, wire: &mut Wire) -> Rest {
    let mut now = Rest::of(server, wire);
    let is_at_rest = wait_for(|| {
        now = Rest::of(server, wire);
        now.surplus(before, shards).is_empty()
    });
    if !is_at_rest {
        let clients = wire.ask(&["CLIENT", "LIST"]);
        let clients = String::from_utf8_lossy(text(&clients).unwrap_or_default()).into_owned();
        let stats = wire.ask(&["MEMORY", "STATS"]);
        let stats = String::from_utf8_lossy(&stats).replace("\r\n", " ");
        let found = now.surplus(before, shards);
        let (before, now) = (before.text(), now.text());
        panic!("no rest: {found:?}\nbefore {before}\nnow {now}\n{clients}\n{stats}");
    }
    now
}
