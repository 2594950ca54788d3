//! Tests of the nodes, their file and how clients see them.

use super::*;
use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::base::slot::SLOT_COUNT;
use crate::base::slot_map::SlotMap;
use crate::config::Config;
use crate::observe::{Level, Log};
use std::sync::LazyLock;

fn id(letter: char) -> String {
    letter.to_string().repeat(NODE_ID_BYTES)
}

fn new() -> Nodes {
    let of = |letter| NodeId::parse(id(letter).as_bytes()).expect("an id");
    Nodes::new(of('a'), of('b'))
}

fn assign(nodes: &mut Nodes, slots: std::ops::RangeInclusive<u16>) {
    let me = nodes.my_number();
    slots.for_each(|slot| nodes.assign(slot, Some(me)));
}

#[test]
fn the_file_has_the_reference_servers_form() {
    let mut nodes = new();
    let mut config = Config::default();
    config.port = 7000;
    let (me, shard) = (id('a'), id('b'));
    let text = format!(
        "{me} :7000@17000,,tls-port=0,shard-id={shard} myself,master - 0 0 0 connected\n\
         vars currentEpoch 0 lastVoteEpoch 0\n"
    );
    assert_eq!(nodes.file_text(&config), text);
    assign(&mut nodes, 0..=2);
    assign(&mut nodes, 4..=4);
    assert!(nodes.bump_epoch() && !nodes.bump_epoch());
    config.cluster_announce_hostname = "host".to_string();
    config.cluster_announce_ip = "10.0.0.1".to_string();
    config.cluster_announce_client_port = 9;
    let text = format!(
        "{me} 10.0.0.1:7000@17000,host,client-tcp-port=9,tls-port=0,shard-id={shard} \
         myself,master - 0 0 1 connected 0-2 4\nvars currentEpoch 1 lastVoteEpoch 0\n"
    );
    assert_eq!(nodes.file_text(&config), text);
}

#[test]
fn a_file_is_read_back() {
    let (me, other, third) = (id('a'), id('c'), id('d'));
    let text = format!(
        "{other} 10.0.0.2:7001@17001,other.host,shard-id={other} master - 0 5 3 connected 5-7 9\n\
         {me} :7000@17000,,tls-port=0,shard-id={me} myself,master - 0 0 2 connected 0-4 \
         [1->-{other}] [8-<-{third}]\n\
         {third} 10.0.0.3:7002@17002 slave {other} 0 0 3 connected\n\n\
         vars currentEpoch 3 lastVoteEpoch 1 unknown 7\n"
    );
    let nodes = Nodes::parse(&text).expect("a valid file");
    assert_eq!(nodes.me().id.to_string(), me);
    let number = |id: &str| nodes.find(id.as_bytes()).expect("a known node");
    assert_eq!(nodes.ranges(number(&other)), [(5, 7), (9, 9)]);
    assert_eq!(nodes.ranges(nodes.my_number()), [(0, 4)]);
    assert!(nodes.is_mine(4) && !nodes.is_mine(5) && nodes.owner(10).is_none());
    assert_eq!(nodes.opening(1), Some(Opening::Migrating(number(&other))));
    assert_eq!(nodes.opening(8), Some(Opening::Importing(number(&third))));
    assert_eq!((nodes.current_epoch, nodes.last_vote_epoch, nodes.max_epoch()), (3, 1, 3));
    assert_eq!((nodes.assigned(), nodes.size()), (9, 2));
    assert!(nodes.is_up(false) && !nodes.is_up(true));
    let again = Nodes::parse(&nodes.file_text(&Config::default())).expect("its own text");
    assert_eq!(again.all().len(), 3);
    assert_eq!(again.openings().collect::<Vec<_>>(), nodes.openings().collect::<Vec<_>>());
}

#[test]
fn wrong_lines_are_named() {
    let me = id('a');
    let rest = "myself,master - 0 0 0 connected";
    let wrong = [
        "x".to_string(),
        format!("{me} :7000@17000 master - 0 0 0"),
        format!("{me} :7000@17000 odd - 0 0 0 connected"),
        format!("{me} 7000 {rest}"),
        format!("{me} :7000@17000,,x=y {rest}"),
        format!("{me} :7000@17000,,nodename=a=b {rest}"),
        format!("{me} :7000@17000 {rest} 16384"),
        format!("{me} :7000@17000 {rest} [5-x-{me}]"),
        format!("{me} :7000@17000 {rest} [5->-{me}"),
        format!("{me} :7000@17000 {rest} [5->-short]"),
        format!("{me} :7000@17000 {rest} [5-é]"),
        "vars currentEpoch".to_string(),
    ];
    for line in wrong {
        assert_eq!(Nodes::parse(&line).expect_err("a wrong line"), line);
    }
    let twice = format!("{me} :7000@17000 {rest}\n{me} :7000@17000 master - 0 0 0 connected\n");
    assert!(Nodes::parse(&twice).is_err());
    assert!(Nodes::parse("vars currentEpoch 1 lastVoteEpoch 0\n").is_err());
}

#[test]
fn a_forgotten_node_leaves_no_trace() {
    let (me, other, third) = (id('a'), id('c'), id('d'));
    let text = format!(
        "{other} h:1@2 master - 0 0 0 connected 5\n\
         {me} h:3@4 myself,master - 0 0 0 connected 0-4 [1->-{other}] [8-<-{third}]\n\
         {third} h:5@6 master - 0 0 0 connected 8\n"
    );
    let mut nodes = Nodes::parse(&text).expect("a valid file");
    nodes.forget(nodes.find(other.as_bytes()).expect("known"));
    let third = nodes.find(third.as_bytes()).expect("known");
    assert_eq!(nodes.me().id.to_string(), me);
    assert_eq!((nodes.owner(5), nodes.owner(8), nodes.is_mine(4)), (None, Some(third), true));
    assert_eq!(nodes.openings().collect::<Vec<_>>(), [(8, Opening::Importing(third))]);
    nodes.reset(NodeId::random(&mut Rng::new(1)));
    assert_eq!((nodes.all().len(), nodes.assigned(), nodes.is_closed()), (1, 0, true));
}

/// The slots of three shards.
static MAP: LazyLock<SlotMap> = LazyLock::new(|| SlotMap::equal(3));

fn viewer(config: &Config, shard: Option<u16>) -> Viewer<'_> {
    Viewer { config, local_address: "[::1]:7003", is_tls: false, map: &MAP, shard }
}

#[test]
fn shards_are_nodes_to_clients() {
    let mut nodes = new();
    assign(&mut nodes, 0..=SLOT_COUNT - 1);
    let mut config = Config::default();
    config.port = 7000;
    let [me] = &viewer(&config, None).all(&nodes)[..] else { panic!("one node") };
    assert_eq!((&me.ip[..], me.port, me.is_me), ("", 7000, true));
    assert_eq!(viewer(&config, None).address(&nodes, 0, 2), (String::new(), 7000));
    config.cluster_shard_ports = true;
    let all = viewer(&config, Some(2)).all(&nodes);
    let shown: Vec<_> = all.iter().map(|it| (&it.ip[..], it.port, it.is_me)).collect();
    assert_eq!(shown, [("::1", 7001, false), ("::1", 7002, false), ("::1", 7003, true)]);
    let ranges: Vec<_> = all.iter().flat_map(|it| it.ranges.clone()).collect();
    assert_eq!(ranges, [(0, 5461), (5462, 10_922), (10_923, 16_383)]);
    assert_eq!(all[0].id, nodes.me().id);
    assert_eq!(viewer(&config, Some(2)).me(&nodes).id, nodes.me().id.of_shard(2));
    assert_eq!(viewer(&config, None).me(&nodes).id, nodes.me().id);
    config.cluster_announce_ip = "10.0.0.1".to_string();
    config.cluster_announce_port = 80;
    config.cluster_announce_client_ipv6 = "fe80::1".to_string();
    assert_eq!(viewer(&config, None).address(&nodes, 0, 2), ("fe80::1".to_string(), 83));
    config.cluster_preferred_endpoint_type = crate::config::EndpointType::Hostname;
    assert_eq!(viewer(&config, None).address(&nodes, 0, 0), ("?".to_string(), 81));
}

#[test]
fn the_file_is_locked_and_replaced() {
    let path = std::env::temp_dir().join(format!("annulet-nodes-{}.conf", std::process::id()));
    let mut config = Config::default();
    config.cluster_config_file = path.to_string_lossy().into_owned();
    let log = Log::new(None, Level::Nothing, Clock::System);
    let mut rng = Rng::new(1);
    let (nodes, file) = load_or_create(&config, &log, &mut rng).expect("a new file");
    let own = nodes.me().id;
    let cluster = Cluster::new(nodes, Some(file), rng.clone());
    let again = || load_or_create(&config, &log, &mut Rng::new(2)).map(|(nodes, _)| nodes);
    assert!(again().expect_err("it is locked").starts_with("Sorry, the cluster"));
    let changed = cluster.change((&config, &log), |nodes| {
        assign(nodes, 0..=9);
        Ok(())
    });
    changed.expect("the file can be written");
    assert!(again().expect_err("the new file is locked too").starts_with("Sorry, the cluster"));
    drop(cluster);
    let nodes = again().expect("nobody has locked it");
    assert_eq!((nodes.me().id, nodes.assigned()), (own, 10));
    std::fs::write(&path, "junk\n").expect("the folder can be written");
    assert!(again().expect_err("corrupt").contains("corrupted cluster config file \"junk\""));
    std::fs::remove_file(&path).expect("it exists");
}
