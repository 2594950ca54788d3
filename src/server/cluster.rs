//! What makes the process a node of a cluster, before it serves.

use crate::base::rng::Rng;
use crate::base::slot::SLOT_COUNT;
use crate::cluster::{BUS_PORT_DISTANCE, Cluster, NodeId, Nodes, load_or_create, tag_of_slot};
use crate::config::Config;
use crate::exec::Process;

/// Reads nodes.conf, or makes the shards nodes to clients, as the settings say. An error is a line
/// for the log.
pub(super) fn join_cluster(process: &Process, config: &Config, mut rng: Rng) -> Result<(), String> {
    check_ports(process, config)?;
    if config.cluster_shard_ports {
        process.listeners.add_ports(process.shards() as u16);
    }
    let cluster = if config.cluster_enabled {
        let (nodes, file) = load_or_create(config, &process.log, &mut rng)?;
        if nodes.is_up(config.cluster_require_full_coverage) {
            process.log.notice("Cluster state changed: ok");
        }
        // CLUSTERSCAN finds the tags made.
        tag_of_slot(0);
        Cluster::new(nodes, Some(file), rng)
    } else if config.cluster_shard_ports {
        let id = NodeId::parse(process.run_id.as_bytes());
        let mut nodes = Nodes::new(id.expect("a run id has 40 digits"), NodeId::random(&mut rng));
        let me = nodes.my_number();
        (0..SLOT_COUNT).for_each(|slot| nodes.assign(slot, Some(me)));
        Cluster::new(nodes, None, rng)
    } else {
        return Ok(());
    };
    process.cluster.get_or_init(|| cluster);
    Ok(())
}

/// Refuses ports that the ports derived from them would exceed.
fn check_ports(process: &Process, config: &Config) -> Result<(), String> {
    let port = config.port.max(config.tls_port);
    if config.cluster_enabled && config.cluster_port == 0 && port > u16::MAX - BUS_PORT_DISTANCE {
        return Err("Annulet port number too high. Cluster communication port is 10,000 port \
                    numbers higher than your Annulet port. Your Annulet port number must be 55535 \
                    or less."
            .to_string());
    }
    let shards = process.shards();
    let has_room = usize::from(port) + shards <= usize::from(u16::MAX);
    if config.cluster_shard_ports && (port == 0 || !has_room) {
        return Err(format!(
            "The ports of {shards} shards begin behind `port`, so it must be from 1 to {}.",
            usize::from(u16::MAX) - shards
        ));
    }
    Ok(())
}
