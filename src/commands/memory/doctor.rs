//! MEMORY DOCTOR: what is remarkable about the memory, in sentences.

use crate::commands::footprint::Footprint;

/// Bytes below which there is nothing to be said.
const USED_MIN: u64 = 5 << 20;

/// Bytes below which a difference does not matter.
const DIFFERENCE_MIN: u64 = 10 << 20;

/// Bytes of buffers per client that are many.
const CLIENT_BYTES: u64 = 200 << 10;

/// The report.
pub(super) fn report(at: &Footprint, clients: u64) -> String {
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
            "Peak memory: once more than one and a half times as much was in use as is now. What \
             was freed since may still be resident; it will be used again, and MEMORY PURGE gives \
             back what it can.",
        ),
        (
            is_over(at.resident, at.used, 14),
            "High resident size: the process takes much more physical memory than its data. After \
             a peak this does no harm; else values of many different sizes come and go.",
        ),
        (
            is_over(at.committed, at.used, 11),
            "High fragmentation: the allocator holds more than it has handed out. After a peak \
             MEMORY PURGE may help.",
        ),
        (
            at.clients / clients.max(1) > CLIENT_BYTES,
            "Big client buffers: clients send commands faster than they are run, or do not read \
             their replies. CLIENT LIST shows which (qbuf, omem).",
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
    fn only_what_is_remarkable_is_said() {
        let mut at = Footprint { used: 1 << 20, ..Footprint::default() };
        assert!(report(&at, 1).starts_with("Hi Sam, this instance is empty"));
        let bytes = 100 << 20;
        at = Footprint { used: bytes, used_peak: bytes, resident: bytes, ..at };
        at.committed = bytes;
        assert!(report(&at, 1).starts_with("Hi Sam, I can't find"));
        at.used_peak = 2 * bytes;
        at.clients = 1 << 20;
        let text = report(&at, 2);
        assert!(text.contains(" * Peak memory") && text.contains(" * Big client"), "{text}");
        assert_eq!(text.matches(" * ").count(), 2);
    }
}
