//! The cluster as this node knows it: the nodes, which of them serves each hash slot, and the file
//! that keeps both.
//!
//! Must not know: clients, commands, keys, other shards. There is no bus yet: other nodes come from
//! the file, and nothing that they do is learnt.
//!
//! ```text
//!   nodes.conf --load--> Nodes --Cluster::new--> published snapshot --state()--> gate, CLUSTER
//!        ^                                                ^
//!        '---- saved first ---- changed copy -------------'   Cluster::change, one at a time
//! ```

mod cell;
mod file;
mod id;
mod node;
mod nodes;
mod tags;
mod text;
mod view;

#[cfg(test)]
mod tests;

pub use cell::Cluster;
pub use file::{NodesFile, load_or_create};
pub use id::{NODE_ID_BYTES, NodeId};
pub use node::{BUS_PORT_DISTANCE, Node, NodeFlags};
pub use nodes::{NODES_MAX, Nodes, Opening};
pub use tags::tag_of_slot;
pub use view::{SeenNode, Viewer};
