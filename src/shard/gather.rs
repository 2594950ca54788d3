//! Gathers one batch: the run of commands at the head of a connection's input that may go
//! together. Hot.
//!
//! Commands on keys go together, up to `BATCH_COMMANDS_MAX`. A command on the session, a refused
//! one and a protocol error stand alone, because what follows them may depend on them.

use crate::client::Connection;
use crate::exec::{CommandTable, Entry, Item, Run};
use crate::gate::{Admission, Facts, Place, Router, admit, find};
use crate::net::Request;
use crate::resp::{Args, Error, Limits, ProtocolError, Span};

/// The batch under work, reused from turn to turn.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    pub(super) places: Vec<Place>,
    pub(super) spans: Vec<Span>,
    /// Whether all of it runs here.
    pub(super) is_local: bool,
}

impl Batch {
    fn clear(&mut self) {
        self.items.clear();
        self.places.clear();
        self.spans.clear();
        self.is_local = true;
    }
}

/// What stands at the head of the input.
pub(super) enum Gathered {
    /// No whole command.
    Nothing,
    /// A batch of commands on keys.
    Keys,
    /// One command on the session.
    Session(Item),
    /// One command that a gate has refused.
    Refused(Option<&'static Entry>, Error),
    /// Bytes that are no command.
    Malformed(ProtocolError),
}

/// What the gathering looks at besides the connection.
pub(super) struct Gatherer {
    pub(super) table: &'static CommandTable,
    pub(super) router: Router,
    pub(super) home: u16,
    pub(super) facts: Facts,
    pub(super) bulk_len_max: u64,
    /// Commands of this batch at most.
    pub(super) commands_max: usize,
}

impl Gatherer {
    /// Fills the batch from the connection's input.
    pub(super) fn gather(&self, connection: &mut Connection, batch: &mut Batch) -> Gathered {
        batch.clear();
        let limits = Limits {
            bulk_len_max: self.bulk_len_max,
            authenticated: connection.session.authenticated,
        };
        while batch.items.len() < self.commands_max {
            let request = match connection.input.next(&limits, &mut batch.spans) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) if batch.items.is_empty() => return Gathered::Malformed(error),
                Err(_) => break,
            };
            let Some(alone) = self.take(connection, &request, batch) else { continue };
            if batch.items.is_empty() {
                return alone;
            }
            connection.input.rewind(&request, &mut batch.spans);
            break;
        }
        if batch.items.is_empty() { Gathered::Nothing } else { Gathered::Keys }
    }

    /// Adds one command to the batch, or says why it stands alone.
    #[inline]
    fn take(
        &self,
        connection: &mut Connection,
        request: &Request,
        batch: &mut Batch,
    ) -> Option<Gathered> {
        let (text, large) = connection.input.parts();
        let first = request.first as usize;
        let spans = &batch.spans[first..first + request.argc as usize];
        let args = Args::new(text, spans, large);
        let entry = match find(self.table, &args) {
            Ok(entry) => entry,
            Err(error) => return Some(Gathered::Refused(None, error)),
        };
        let admission =
            Admission { entry, argc: args.len(), session: &connection.session, facts: self.facts };
        if let Err(error) = admit(&admission) {
            return Some(Gathered::Refused(Some(entry), error));
        }
        let (place, slot) = self.router.place(entry, &args, self.home);
        let item = Item { entry, first: request.first, argc: request.argc, slot };
        if matches!(entry.command.run, Run::Session(_) | Run::Container) {
            return Some(Gathered::Session(item));
        }
        batch.is_local &= place == Place::Shard(self.home);
        batch.items.push(item);
        batch.places.push(place);
        None
    }
}
