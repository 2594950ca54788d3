//! Partial resynchronization: decides whether a returning replica can continue where it was.

use crate::exec::ReplicationFacts;

/// The result of a PSYNC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// The replica continues: it has this number of bytes of the feed.
    From(u64),
    /// The replica asked for a snapshot.
    Unwanted,
    /// The replica needs a snapshot, for a reason that is written to the log.
    Refused(String),
}

/// Decides about a PSYNC, which contains a replication ID and the first byte that the replica
/// lacks, counted from 1. `name` is the replica's name for the log.
pub fn resumption(facts: &ReplicationFacts, replid: &[u8], byte: i64, name: &str) -> Resumption {
    let is_current = replid.eq_ignore_ascii_case(facts.replid.as_bytes());
    let is_previous = replid.eq_ignore_ascii_case(facts.replid2.as_bytes());
    let shown = String::from_utf8_lossy(replid);
    let is_known = is_current || (is_previous && byte <= facts.second_offset);
    if !is_known {
        if replid.starts_with(b"?") {
            return Resumption::Unwanted;
        }
        let why = if is_previous {
            let end = facts.second_offset;
            format!("Requested offset for second ID was {byte}, but I can reply up to {end}")
        } else {
            let (one, other) = (&facts.replid, &facts.replid2);
            format!(
                "Replication ID mismatch (Replica asked for '{shown}', my replication IDs are \
                 '{one}' and '{other}')"
            )
        };
        return Resumption::Refused(format!("Partial resynchronization not accepted: {why}"));
    }
    let Some(backlog) = facts.backlog else {
        return Resumption::Refused(format!(
            "Unable to partial resync with replica {name} for lack of backlog (Replica request \
             was: {shown}:{byte})."
        ));
    };
    let (first, end) = (backlog.first_byte, backlog.first_byte + backlog.len);
    match u64::try_from(byte) {
        Ok(byte) if (first..=end).contains(&byte) => Resumption::From(byte - 1),
        _ => Resumption::Refused(format!(
            "Unable to partial resync with replica {name} for lack of backlog (Replica request \
             was {shown}:{byte}, and I can only reply with the range [{first}, {end}])."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::BacklogFacts;

    #[test]
    fn a_replica_continues_within_the_backlog() {
        let mut facts = ReplicationFacts::new("a".repeat(40));
        let own = "A".repeat(40).into_bytes();
        let ask = |facts: &ReplicationFacts, replid: &[u8], byte| {
            resumption(facts, replid, byte, "10.0.0.2:6380")
        };
        let is_refused = |answer| matches!(answer, Resumption::Refused(_));
        assert!(is_refused(ask(&facts, &own, 1)), "there is no backlog");
        facts.offset = 300;
        facts.backlog = Some(BacklogFacts { first_byte: 101, len: 200, memory_bytes: 256 });
        assert_eq!(ask(&facts, &own, 101), Resumption::From(100));
        assert_eq!(ask(&facts, &own, 301), Resumption::From(300));
        assert!(is_refused(ask(&facts, &own, 100)));
        assert!(is_refused(ask(&facts, &own, -1)));
        assert_eq!(
            ask(&facts, &own, 302),
            Resumption::Refused(format!(
                "Unable to partial resync with replica 10.0.0.2:6380 for lack of backlog (Replica \
                 request was {}:302, and I can only reply with the range [101, 301]).",
                "A".repeat(40)
            ))
        );
        assert_eq!(ask(&facts, b"?", -1), Resumption::Unwanted);
        let zeros = "0".repeat(40).into_bytes();
        assert!(is_refused(ask(&facts, &zeros, 150)), "there is no previous replication ID");
    }

    #[test]
    fn the_previous_replication_id_is_valid_up_to_its_end() {
        let mut facts = ReplicationFacts::new("a".repeat(40));
        facts.replid2 = "b".repeat(40);
        facts.second_offset = 150;
        facts.offset = 300;
        facts.backlog = Some(BacklogFacts { first_byte: 101, len: 200, memory_bytes: 256 });
        let before = "b".repeat(40).into_bytes();
        assert_eq!(resumption(&facts, &before, 150, ""), Resumption::From(149));
        assert_eq!(
            resumption(&facts, &before, 151, ""),
            Resumption::Refused(
                "Partial resynchronization not accepted: Requested offset for second ID was 151, \
                 but I can reply up to 150"
                    .to_string()
            )
        );
    }
}
