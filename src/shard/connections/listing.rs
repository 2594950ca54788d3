//! CLIENT LIST of many connections, some of them a turn. A connection that is opened or closed
//! meanwhile may be missing.

use super::clients::Listing;
use crate::client::describe;
use crate::exec::{ClientFilter, Request};
use crate::io::ConnId;
use crate::mesh::Envelope;
use crate::resp::Reply;
use crate::shard::state::Shard;

/// Connections that one slice describes; about 300 us.
const SLICE_CONNECTIONS: ConnId = 64;

impl Shard {
    /// Begins a list. Its first slice runs at once.
    pub(in crate::shard) fn begin_list(
        &mut self,
        part: Box<Envelope>,
        at: u32,
        filter: Box<ClientFilter>,
    ) {
        let listing = Listing { part, at, filter, text: Vec::new(), next: 0, spent_ns: 0 };
        self.list_slice(listing);
    }

    /// Continues the list that has waited longest. Returns whether there was any.
    pub(in crate::shard) fn list_on(&mut self) -> bool {
        let Some(listing) = self.clients.listings.pop_front() else { return false };
        self.list_slice(listing);
        true
    }

    fn list_slice(&mut self, mut listing: Listing) {
        let started_ns = self.env.clock_ns();
        let (now_ms, commands) = (self.env.now.monotonic_ms(), self.env.process.commands);
        let end = self.connections.end().min(listing.next + SLICE_CONNECTIONS);
        for connection in (listing.next..end).filter_map(|conn| self.connections.get(conn)) {
            if !connection.is_closing && listing.filter.passes(&connection.session, now_ms) {
                describe(connection, commands, now_ms, &mut listing.text);
                listing.text.push(b'\n');
            }
        }
        listing.next = end;
        listing.spent_ns += self.env.clock_ns() - started_ns;
        if end < self.connections.end() {
            return self.clients.listings.push_back(listing);
        }
        let Listing { mut part, at, text, spent_ns, .. } = listing;
        Reply::new(&mut part.output, part.protocol).bulk(&text);
        part.ends.push(part.output.mark());
        self.send_answer(part, at, spent_ns);
    }
}

/// Returns the filter of a request for a list; otherwise the request.
pub(in crate::shard) fn list_filter(request: Request) -> Result<Box<ClientFilter>, Request> {
    match request {
        Request::ClientList(filter) => Ok(filter),
        other => Err(other),
    }
}
