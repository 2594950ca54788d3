//! Tests of CLUSTER on the session, and of the gate that redirects.

use crate::base::rng::Rng;
use crate::cluster::{Cluster, NODE_ID_BYTES, NodeId, Nodes};
use crate::commands::session_testing::{SessionBench, show};
use crate::config::Config;
use crate::exec::Facts;
use crate::gate::{Admission, Router, admit, find};
use crate::resp::{Args, Span};

fn id(letter: char) -> String {
    letter.to_string().repeat(NODE_ID_BYTES)
}

/// Returns a bench whose process is a node of a cluster, without slots.
fn node(change: impl FnOnce(&mut Config)) -> SessionBench {
    let mut bench = SessionBench::with(|config| {
        config.cluster_enabled = true;
        config.port = 7000;
        change(config);
    });
    let id = |letter| NodeId::parse(id(letter).as_bytes()).expect("an id");
    join(&mut bench, Nodes::new(id('a'), id('b')));
    bench
}

fn join(bench: &mut SessionBench, nodes: Nodes) {
    bench.process.cluster.get_or_init(|| Cluster::new(nodes, None, Rng::new(1)));
    bench.session.local_address = "127.0.0.1:7000".to_string();
}

/// Returns a bench whose file knows a second node with the slots from 10,000 on.
fn two_nodes(change: impl FnOnce(&mut Config)) -> SessionBench {
    let mut bench = SessionBench::with(|config| {
        config.cluster_enabled = true;
        change(config);
    });
    let (me, other) = (id('a'), id('c'));
    let text = format!(
        "{me} :7000@17000 myself,master - 0 0 1 connected 0-9999 [5->-{other}]\n\
         {other} 10.0.0.2:7001@17001,other.host master - 0 0 2 connected 10000-16383 \n"
    );
    join(&mut bench, Nodes::parse(&text).expect("a valid file"));
    bench
}

/// Returns the error of the gates for a command, or `OK`.
fn gate(bench: &SessionBench, line: &str) -> String {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    for arg in line.split(' ') {
        spans.push(Span::text(text.len(), arg.len()));
        text.extend_from_slice(arg.as_bytes());
    }
    let args = Args::new(&text, &spans, &mut []);
    let mut facts = bench.session.facts;
    facts.set(Facts::CLUSTER, bench.process.is_cluster || bench.session.port_of.is_some());
    let (session, process) = (&bench.session, &bench.process);
    let entry = find(process.commands, &args).expect("a command");
    let router = &Router::new(process.slot_map.snapshot());
    let admitted = admit(&Admission { entry, args: &args, session, facts, process, router });
    admitted.map_or_else(|error| error.text().into_owned(), |()| "OK".to_string())
}

#[test]
fn without_a_cluster_all_is_refused() {
    SessionBench::new().check_script(
        "
        CLUSTER NODES => -ERR This instance has cluster support disabled
        CLUSTER HELP => -ERR This instance has cluster support disabled
        CLUSTER KEYSLOT a => -ERR This instance has cluster support disabled
        CLUSTER ADDSLOTS x => -ERR This instance has cluster support disabled
        CLUSTER MYID a => -ERR wrong number of arguments for 'cluster|myid' command
        ASKING => -ERR This instance has cluster support disabled
        ",
    );
}

#[test]
fn readonly_is_a_flag() {
    let mut bench = SessionBench::new();
    bench.check_script("READONLY => OK");
    assert_eq!(bench.session.flags(), "r");
    bench.check_script("READWRITE => OK");
    assert_eq!(bench.session.flags(), "N");
    bench.check_script("READONLY => OK");
    bench.check_script("RESET => RESET");
    assert_eq!(bench.session.flags(), "N");
}

#[test]
fn slots_are_added_and_deleted() {
    let (me, shard) = (id('a'), id('b'));
    let mut bench = node(|_| {});
    bench.check_script(&format!(
        r#"
        CLUSTER MYID => "{me}"
        CLUSTER MYSHARDID => "{shard}"
        CLUSTER SLOTS => []
        CLUSTER LINKS => []
        CLUSTER KEYSLOT foo{{bar}} => :5061
        CLUSTER ADDSLOTS 0 x => -ERR Invalid or out of range slot
        CLUSTER ADDSLOTS 0 16384 => -ERR Invalid or out of range slot
        CLUSTER ADDSLOTS 0 1 0 => -ERR Slot 0 specified multiple times
        CLUSTER ADDSLOTS 0 1 3 => OK
        CLUSTER ADDSLOTS 4 3 => -ERR Slot 3 is already busy
        CLUSTER ADDSLOTSRANGE 10 20 30 => -ERR wrong number of arguments for
            | 'cluster|addslotsrange' command
        CLUSTER ADDSLOTSRANGE 10 5 => -ERR start slot number 10 is greater than end slot number 5
        CLUSTER ADDSLOTSRANGE 10 20 19 30 => -ERR Slot 19 specified multiple times
        CLUSTER ADDSLOTSRANGE 10 20 22 22 => OK
        CLUSTER DELSLOTS 2 => -ERR Slot 2 is already unassigned
        CLUSTER DELSLOTSRANGE 12 13 => OK
        "#
    ));
    let shown = show(&bench.run(&["CLUSTER", "NODES"]).expect("a reply"));
    let line = format!("{me} :7000@17000 myself,master - 0 0 0 connected 0-1 3 10-11 14-20 22");
    assert_eq!(shown, format!("\"{line}\n\""));
    bench.check_script(&format!(
        r#"
        CLUSTER SLOTS => [[:0 :1 ["" :7000 "{me}" []]] [:3 :3 ["" :7000 "{me}" []]] [:10 :11 [""
            | :7000 "{me}" []]] [:14 :20 ["" :7000 "{me}" []]] [:22 :22 ["" :7000 "{me}" []]]]
        CLUSTER SHARDS => [["slots" [:0 :1 :3 :3 :10 :11 :14 :20 :22 :22] "nodes" [["id" "{me}"
            | "port" :7000 "ip" "" "endpoint" "" "role" "master" "replication-offset" :0 "health"
            | "online"]] "id" "{shard}"]]
        CLUSTER FLUSHSLOTS => OK
        CLUSTER SLOTS => []
        "#
    ));
}

#[test]
fn epochs_and_resets() {
    let me = id('a');
    let mut bench = node(|_| {});
    bench.check_script(&format!(
        r#"
        CLUSTER SET-CONFIG-EPOCH x => -ERR value is not an integer or out of range
        CLUSTER SET-CONFIG-EPOCH -1 => -ERR Invalid config epoch specified: -1
        CLUSTER SET-CONFIG-EPOCH 3 => OK
        CLUSTER SET-CONFIG-EPOCH 3 => -ERR Node config epoch is already non-zero
        CLUSTER BUMPEPOCH => STILL 3
        CLUSTER COUNT-FAILURE-REPORTS {me} => :0
        CLUSTER COUNT-FAILURE-REPORTS x => -ERR Unknown node x
        CLUSTER REPLICAS {me} => []
        CLUSTER SLAVES x => -ERR Unknown node x
        CLUSTER FORGET {me} => -ERR I tried hard but I can't forget myself...
        CLUSTER FORGET x => -ERR Unknown node x
        CLUSTER FAILOVER FORCE => -ERR You should send CLUSTER FAILOVER to a replica
        CLUSTER FAILOVER x => -ERR syntax error
        CLUSTER SAVECONFIG => OK
        CLUSTER RESET x => -ERR syntax error
        CLUSTER RESET SOFT x => -ERR unknown subcommand or wrong number of arguments for 'RESET'.
            | Try CLUSTER HELP.
        CLUSTER RESET => OK
        CLUSTER MYID => "{me}"
        CLUSTER BUMPEPOCH => STILL 3
        CLUSTER RESET HARD => OK
        CLUSTER BUMPEPOCH => BUMPED 1
        "#
    ));
    assert_ne!(show(&bench.run(&["CLUSTER", "MYID"]).expect("a reply")), format!("\"{me}\""));
    bench.process.boards.board(0).databases[0].keys.set(1);
    bench.check_script(
        "
        CLUSTER RESET => -ERR CLUSTER RESET can't be called with master nodes containing keys
        CLUSTER FLUSHSLOTS => -ERR DB must be empty to perform CLUSTER FLUSHSLOTS.
        ",
    );
}

#[test]
fn info_counts_slots_and_nodes() {
    let mut bench = two_nodes(|_| {});
    let text = show(&bench.run(&["CLUSTER", "INFO"]).expect("a reply"));
    for line in [
        "cluster_state:ok\r\n",
        "cluster_slots_assigned:16384\r\n",
        "cluster_slots_ok:16384\r\n",
        "cluster_known_nodes:2\r\n",
        "cluster_size:2\r\n",
        "cluster_current_epoch:2\r\n",
        "cluster_my_epoch:1\r\n",
        "cluster_stats_messages_sent:0\r\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let text = show(&bench.run(&["INFO", "cluster", "server"]).expect("a reply"));
    assert!(text.contains("cluster_enabled:1\r\n") && text.contains("server_mode:cluster"));
    let text = show(&bench.run(&["INFO", "cluster_info"]).expect("a reply"));
    assert!(text.contains("# Cluster Info\r\ncluster_state:ok\r\n"), "{text}");
    let text = show(&bench.run(&["HELLO"]).expect("a reply"));
    assert!(text.contains("\"mode\" \"cluster\""), "{text}");
    assert_eq!(bench.process.databases, 1);
}

#[test]
fn endpoints_are_named_as_the_settings_say() {
    let other = id('c');
    let slots = |change: fn(&mut Config)| {
        let mut bench = two_nodes(change);
        let all = show(&bench.run(&["CLUSTER", "SLOTS"]).expect("a reply"));
        let (_, last) = all.split_once("[:10000 ").expect("two ranges");
        last.strip_suffix("]]]").expect("the last range").to_string()
    };
    let by_ip = format!(":16383 [\"10.0.0.2\" :7001 \"{other}\" [\"hostname\" \"other.host\"]");
    assert_eq!(slots(|_| {}), by_ip);
    let by_name = slots(|config| {
        config.cluster_preferred_endpoint_type = crate::config::EndpointType::Hostname;
    });
    let expected = format!(":16383 [\"other.host\" :7001 \"{other}\" [\"ip\" \"10.0.0.2\"]");
    assert_eq!(by_name, expected);
    let unknown = slots(|config| {
        config.cluster_preferred_endpoint_type = crate::config::EndpointType::Unknown;
    });
    assert!(unknown.starts_with(&format!(":16383 [nil :7001 \"{other}\" [\"ip\"")), "{unknown}");
}

#[test]
fn keys_lead_to_their_nodes() {
    let mut bench = two_nodes(|_| {});
    for (line, expected) in [
        ("GET bar", "OK"),
        ("GET foo", "MOVED 12182 10.0.0.2:7001"),
        ("MSET bar 1 foo 2", "CROSSSLOT Keys in request don't hash to the same slot"),
        ("MGET {bar}1 {bar}2", "OK"),
        ("EVAL return 1 foo", "MOVED 12182 10.0.0.2:7001"),
        ("EVAL return 2 foo bar", "CROSSSLOT Keys in request don't hash to the same slot"),
        ("EVAL return 0 foo", "OK"),
        ("SSUBSCRIBE foo", "MOVED 12182 10.0.0.2:7001"),
        ("SPUBLISH foo x", "MOVED 12182 10.0.0.2:7001"),
        ("SSUBSCRIBE foo bar", "CROSSSLOT Keys in request don't hash to the same slot"),
        ("SUBSCRIBE foo", "OK"),
        ("WATCH foo", "MOVED 12182 10.0.0.2:7001"),
        ("XREAD STREAMS foo 0", "MOVED 12182 10.0.0.2:7001"),
        ("FLUSHALL", "OK"),
        ("PING", "OK"),
        ("EXEC", "OK"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
    ] {
        assert_eq!(gate(&bench, line), expected, "{line}");
    }
    bench.check_script("CLUSTER DELSLOTS 12182 => OK");
    assert_eq!(gate(&bench, "GET foo"), "CLUSTERDOWN Hash slot not served");
    assert_eq!(gate(&bench, "GET bar"), "CLUSTERDOWN The cluster is down");
    assert_eq!(gate(&bench, "SPUBLISH bar x"), "OK");
    assert_eq!(gate(&bench, "PING"), "OK");
}

#[test]
fn a_cluster_that_is_down_serves_what_the_settings_say() {
    let down = |change: fn(&mut Config)| {
        let mut bench = two_nodes(change);
        bench.check_script("CLUSTER DELSLOTS 12182 => OK");
        ["GET bar", "SET bar 1", "SPUBLISH bar x"].map(|line| gate(&bench, line))
    };
    let reads = "CLUSTERDOWN The cluster is down and only accepts read commands";
    let shown = down(|config| config.cluster_allow_reads_when_down = true);
    assert_eq!(shown, ["OK", reads, "OK"]);
    let is_down = "CLUSTERDOWN The cluster is down";
    let shown = down(|config| config.cluster_allow_pubsubshard_when_down = false);
    assert_eq!(shown, [is_down; 3]);
    assert_eq!(down(|config| config.cluster_require_full_coverage = false), ["OK"; 3]);
}

#[test]
fn a_slot_that_is_imported_needs_asking() {
    let (me, other) = (id('a'), id('c'));
    let mut bench = SessionBench::with(|config| config.cluster_enabled = true);
    let text = format!(
        "{me} :7000@17000 myself,master - 0 0 1 connected 0-9999 [12182-<-{other}]\n\
         {other} 10.0.0.2:7001@17001 master - 0 0 2 connected 10000-16383\n"
    );
    join(&mut bench, Nodes::parse(&text).expect("a valid file"));
    assert_eq!(gate(&bench, "GET foo"), "MOVED 12182 10.0.0.2:7001");
    assert_eq!(gate(&bench, "RESTORE-ASKING foo 0 x"), "OK");
    bench.check_script("ASKING => OK");
    assert_eq!(gate(&bench, "GET foo"), "OK");
    assert!(bench.session.begin_asking());
    bench.check_script("ASKING => OK");
    bench.session.end_asking();
    assert_eq!(gate(&bench, "GET foo"), "OK");
    assert!(bench.session.begin_asking());
    bench.session.end_asking();
    assert_eq!(gate(&bench, "GET foo"), "MOVED 12182 10.0.0.2:7001");
}

#[test]
fn the_port_of_a_shard_serves_its_slots() {
    let mut bench = SessionBench::with(|config| {
        config.cluster_shard_ports = true;
        config.port = 7000;
    });
    let id = |letter| NodeId::parse(id(letter).as_bytes()).expect("an id");
    let mut nodes = Nodes::new(id('a'), id('b'));
    (0..16_384).for_each(|slot| nodes.assign(slot, Some(0)));
    join(&mut bench, nodes);
    assert_eq!(gate(&bench, "MSET bar 1 foo 2"), "OK");
    bench.session.arrive_at(Some(0));
    assert_eq!(gate(&bench, "GET bar"), "OK");
    assert_eq!(gate(&bench, "MSET bar 1 hello 2"), "OK");
    assert_eq!(gate(&bench, "GET foo"), "MOVED 12182 127.0.0.1:7002");
    let crossed = "CROSSSLOT Keys in request don't hash to the same slot";
    assert_eq!(gate(&bench, "MSET bar 1 foo 2"), crossed);
    let (first, second) = (id('a'), id('a').of_shard(1));
    bench.check_script(&format!(
        r#"
        CLUSTER MYID => "{first}"
        CLUSTER SLOTS => [[:0 :8191 ["127.0.0.1" :7001 "{first}" []]] [:8192 :16383 ["127.0.0.1"
            | :7002 "{second}" []]]]
        CLUSTER ADDSLOTS 1 => -ERR This instance has cluster support disabled
        "#
    ));
    bench.session.arrive_at(Some(1));
    bench.check_script(&format!("CLUSTER MYID => \"{second}\""));
}
