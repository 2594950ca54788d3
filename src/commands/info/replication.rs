//! The section of INFO about replication.

use super::View;
use super::text::Text;
use crate::exec::ReplicationFacts;

pub(super) fn replication(view: &View<'_>, text: &mut Text) {
    let config = view.process.config.snapshot();
    // A copy, so that the lock is not held while the text is formatted.
    let facts = view.process.replication().clone();
    let now_s = view.now_us / 1_000_000;
    text.field("role", "master");
    text.field("connected_slaves", facts.replicas.len());
    let lag_max_s = u64::from(config.min_replicas_max_lag);
    if config.min_replicas_to_write > 0 && lag_max_s > 0 {
        text.field("min_slaves_good_slaves", facts.good_replicas(now_s, lag_max_s));
    }
    replicas(&facts, now_s, text);
    let backlog = facts.backlog;
    text.field("replicas_waiting_psync", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &facts.replid);
    text.field("master_replid2", &facts.replid2);
    text.field("master_repl_offset", facts.offset);
    text.field("second_repl_offset", facts.second_offset);
    text.field("repl_backlog_active", u8::from(backlog.is_some()));
    text.field("repl_backlog_size", config.repl_backlog_size);
    let first_byte = backlog.map_or(0, |backlog| backlog.first_byte);
    text.field("repl_backlog_first_byte_offset", first_byte);
    text.field("repl_backlog_histlen", backlog.map_or(0, |backlog| backlog.len));
}

fn replicas(facts: &ReplicationFacts, now_s: u64, text: &mut Text) {
    for (number, line) in facts.replicas.iter().enumerate() {
        text.field(
            &format!("slave{number}"),
            format_args!(
                "ip={},port={},state={},offset={},lag={},type=replica",
                line.ip,
                line.port,
                line.state.word(),
                line.acked_offset,
                line.lag_s(now_s)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::session_testing::{START_MS, SessionBench, show};
    use crate::exec::{BacklogFacts, ReplicaLine, ReplicaState};

    fn section(bench: &mut SessionBench) -> String {
        show(&bench.run(&["INFO", "replication"]).expect("a reply"))
    }

    #[test]
    fn without_replicas() {
        let replid = "a".repeat(40);
        let zeros = "0".repeat(40);
        let expected = format!(
            "\"# Replication\r\nrole:master\r\nconnected_slaves:0\r\nreplicas_waiting_psync:0\r\n\
             master_failover_state:no-failover\r\nmaster_replid:{replid}\r\n\
             master_replid2:{zeros}\r\nmaster_repl_offset:0\r\nsecond_repl_offset:-1\r\n\
             repl_backlog_active:0\r\nrepl_backlog_size:10485760\r\n\
             repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n\""
        );
        assert_eq!(section(&mut SessionBench::new()), expected);
    }

    #[test]
    fn with_replicas() {
        let mut bench = SessionBench::with(|config| config.min_replicas_to_write = 1);
        let now_s = START_MS / 1_000;
        let line = |client_id, state, ip: &str, acked_s| ReplicaLine {
            client_id,
            ip: ip.to_string(),
            port: 6380,
            state,
            acked_offset: 112,
            acked_disk_offset: 0,
            acked_s,
        };
        {
            let mut facts = bench.process.replication();
            facts.offset = 140;
            facts.backlog = Some(BacklogFacts { first_byte: 29, len: 112, memory_bytes: 10 << 20 });
            facts.put(line(4, ReplicaState::Online, "::1", now_s - 2));
            facts.put(line(5, ReplicaState::Sending, "10.0.0.2", 0));
        }
        let shown = section(&mut bench);
        for expected in [
            "connected_slaves:2\r\nmin_slaves_good_slaves:1\r\nslave0:",
            "slave0:ip=::1,port=6380,state=online,offset=112,lag=2,type=replica",
            "slave1:ip=10.0.0.2,port=6380,state=send_bulk,offset=112,lag=0,type=replica",
            "master_repl_offset:140",
            "repl_backlog_active:1",
            "repl_backlog_first_byte_offset:29",
            "repl_backlog_histlen:112",
        ] {
            assert!(shown.contains(&format!("\r\n{expected}")), "{expected}\n{shown}");
        }
        assert_eq!(
            show(&bench.run(&["ROLE"]).expect("a reply")),
            "[\"master\" :140 [[\"::1\" \"6380\" \"112\"]]]"
        );
    }
}
