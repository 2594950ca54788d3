//! MEMORY DOCTOR: a text report of memory problems.

use crate::commands::footprint::Footprint;

/// Minimum bytes in use for a report with findings.
const USED_MIN: u64 = 5 << 20;

/// Minimum difference in bytes between two figures for a finding.
const DIFFERENCE_MIN: u64 = 10 << 20;

/// Average buffer bytes per client above which the report warns.
const CLIENT_BYTES: u64 = 200 << 10;

/// Bytes of all replicas above which the report warns.
const REPLICA_BYTES: u64 = 10 << 20;

/// Number of cached scripts above which the report warns.
const SCRIPTS_MAX: usize = 1_000;

/// Numbers that the report depends on besides bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Clients, replicas included.
    pub(super) clients: u64,
    /// Replicas.
    pub(super) replicas: u64,
    /// Cached scripts.
    pub(super) scripts: usize,
}

/// Returns the report on a process with this footprint.
pub(super) fn report(at: &Footprint, counts: Counts) -> String {
    if at.used < USED_MIN {
        return "Hi Sam, this instance is empty or is using very little memory, my issues detector \
                can't be used in these conditions. Please, leave for your mission on Earth and \
                fill it with some data. The new Sam and I will be back to our programming as soon \
                as I finished rebooting.\n"
            .to_string();
    }
    let is_over = |more: u64, less: u64, tenths: u64| {
        more * 10 > less * tenths && more.saturating_sub(less) > DIFFERENCE_MIN
    };
    let findings = [
        (
            at.used_peak * 2 > at.used * 3,
            "Peak memory: the peak was more than 1.5 times the memory in use now. Freed memory may \
             still be resident; the server will use it again, and MEMORY PURGE returns what it can \
             to the system.",
        ),
        (
            is_over(at.resident, at.used, 14),
            "High resident size: the process takes much more physical memory than its data. This \
             is harmless after a peak; otherwise values of many different sizes are created and \
             freed.",
        ),
        (
            is_over(at.committed, at.used, 11),
            "High fragmentation: the allocator holds much more memory than is in use. MEMORY PURGE \
             may help after a peak.",
        ),
        (
            is_over(at.resident, at.committed, 11),
            "High allocator overhead: the process takes much more physical memory than the \
             allocator holds for it. This is harmless after a peak; MEMORY PURGE may help.",
        ),
        (
            counts.replicas > 0 && at.replica_clients > REPLICA_BYTES,
            "Big replica buffers: a replica receives the stream more slowly than it grows. INFO \
             replication shows the lag of each, and CLIENT LIST its output (omem).",
        ),
        (
            at.clients / counts.clients.saturating_sub(counts.replicas).max(1) > CLIENT_BYTES,
            "Big client buffers: clients send commands faster than the server runs them, or do not \
             read their replies. CLIENT LIST shows the clients (qbuf, omem).",
        ),
        (
            counts.scripts > SCRIPTS_MAX,
            "Many scripts: clients may be generating scripts instead of passing KEYS and ARGV to \
             a few of them. SCRIPT FLUSH frees their memory.",
        ),
    ];
    let found: Vec<&str> =
        findings.iter().filter(|(is_so, _)| *is_so).map(|(_, text)| *text).collect();
    if found.is_empty() {
        return "Hi Sam, I can't find any memory issue in your instance. I can only account for \
                what occurs on this base.\n"
            .to_string();
    }
    let mut text =
        "Sam, I detected a few issues in this Valkey instance memory implants:\n\n".to_string();
    for finding in found {
        text.push_str(&format!(" * {finding}\n\n"));
    }
    text.push_str("I'm here to keep you safe, Sam. I want to help you.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_problems_are_reported() {
        let mut at = Footprint { used: 1 << 20, ..Footprint::default() };
        let counts = Counts { clients: 1, ..Counts::default() };
        assert!(report(&at, counts).starts_with("Hi Sam, this instance is empty"));
        let bytes = 100 << 20;
        at = Footprint { used: bytes, used_peak: bytes, resident: bytes, ..at };
        at.committed = bytes;
        assert!(report(&at, counts).starts_with("Hi Sam, I can't find"));
        at.used_peak = 2 * bytes;
        at.clients = 1 << 20;
        let text = report(&at, Counts { clients: 2, ..counts });
        assert!(text.contains(" * Peak memory") && text.contains(" * Big client"), "{text}");
        assert_eq!(text.matches(" * ").count(), 2);
        at.replica_clients = 11 << 20;
        let text = report(&at, Counts { clients: 8, replicas: 1, scripts: 1_001 });
        assert!(text.contains(" * Big replica") && text.contains(" * Many scripts"), "{text}");
        assert_eq!(text.matches(" * ").count(), 3);
    }
}
