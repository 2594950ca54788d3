//! The shard's connections by number. A number is reused only after the driver has closed its
//! socket.

use crate::client::Connection;
use crate::io::ConnId;

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// A slab of connections.
#[derive(Default)]
pub(in crate::shard) struct Connections {
    places: Vec<Place>,
    free: Vec<ConnId>,
    len: usize,
}

impl Connections {
    /// Reserves a number. Returns it with the generation of its next connection.
    pub(in crate::shard) fn reserve(&mut self) -> (ConnId, u32) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as ConnId - 1
        });
        let place = &mut self.places[id as usize];
        assert!(place.connection.is_none(), "a free number has no connection");
        place.generation = place.generation.wrapping_add(1);
        (id, place.generation)
    }

    pub(in crate::shard) fn insert(&mut self, id: ConnId, connection: Connection) {
        let place = &mut self.places[id as usize];
        assert!(place.connection.is_none() && place.generation == connection.generation);
        place.connection = Some(Box::new(connection));
        self.len += 1;
    }

    /// Removes the connection. Its number is free again.
    pub(in crate::shard) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let removed = self.places[id as usize].connection.take()?;
        self.free.push(id);
        self.len -= 1;
        Some(removed)
    }

    /// Returns a reserved number that got no connection.
    pub(in crate::shard) fn unreserve(&mut self, id: ConnId) {
        assert!(self.places[id as usize].connection.is_none());
        self.free.push(id);
    }

    #[inline]
    pub(in crate::shard) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.places.get_mut(id as usize)?.connection.as_deref_mut()
    }

    pub(in crate::shard) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.places.get(id as usize)?.connection.as_deref()
    }

    /// Returns the connection if it still has this generation.
    #[inline]
    pub(in crate::shard) fn get_same(
        &mut self,
        id: ConnId,
        generation: u32,
    ) -> Option<&mut Connection> {
        self.get_mut(id).filter(|connection| connection.generation == generation)
    }

    pub(in crate::shard) fn len(&self) -> usize {
        self.len
    }

    /// Returns one past the highest number in use.
    pub(in crate::shard) fn end(&self) -> ConnId {
        self.places.len() as ConnId
    }

    pub(in crate::shard) fn iter(&self) -> impl Iterator<Item = (ConnId, &Connection)> {
        let with_id = self.places.iter().enumerate();
        with_id.filter_map(|(id, place)| Some((id as ConnId, place.connection.as_deref()?)))
    }
}
