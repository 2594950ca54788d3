//! Pushes: what a connection gets between its replies. Hot.
//!
//! A push goes into the output of a connection at once, unless its replies have to come first (see
//! [`crate::client::Connection::push`]). It is sent with the turn's other output.

use crate::mesh::ClientRef;
use crate::pubsub::{Cause, Published, Sort};
use crate::resp::{Output, Protocol};
use crate::shard::state::Shard;

/// A push in the two protocols. Each form is written when it is first needed.
pub(in crate::shard) struct Push<W> {
    write: W,
    written: [Option<Output>; 2],
}

impl<W: Fn(Protocol, &mut Output)> Push<W> {
    /// Creates a push that `write` writes.
    pub(in crate::shard) fn new(write: W) -> Push<W> {
        Push { write, written: [None, None] }
    }

    fn form(&mut self, protocol: Protocol) -> &Output {
        let write = &self.write;
        self.written[usize::from(protocol == Protocol::Three)].get_or_insert_with(|| {
            let mut output = Output::default();
            write(protocol, &mut output);
            output
        })
    }
}

impl Shard {
    /// Takes a message from the inbox, for all subscribers among the connections.
    pub(in crate::shard) fn deliver(&mut self, message: &Published) {
        self.env.process.pubsub.taken(self.env.me, message);
        let mut push = Push::new(|protocol, output: &mut Output| message.write(protocol, output));
        self.push_to_all(message, (message.sort, &message.channel), &mut push);
        for pattern in &message.patterns {
            let mut push = Push::new(|protocol, output: &mut Output| {
                message.write_matched(pattern, protocol, output);
            });
            self.push_to_all(message, (Sort::Pattern, pattern), &mut push);
        }
    }

    /// Pushes a message to the subscribers to one name.
    fn push_to_all<W: Fn(Protocol, &mut Output)>(
        &mut self,
        message: &Published,
        (sort, name): (Sort, &[u8]),
        push: &mut Push<W>,
    ) {
        let mut reached = std::mem::take(&mut self.clients.subscribers.reached);
        let subscribers = self.clients.subscribers.of(sort, name).iter();
        reached.extend(subscribers.filter(|it| it.gets(message.version)).map(|it| it.client));
        for client in reached.drain(..) {
            let is_own = message.cause.is_some_and(|cause| is_of(cause, self.env.me, client));
            self.push_to(client, push, is_own);
        }
        self.clients.subscribers.reached = reached;
    }

    /// Pushes to one connection, if it is still there. `is_own` says that the connection's own
    /// command in flight is the cause, so that the push goes behind the reply of this command.
    #[inline]
    pub(in crate::shard) fn push_to<W: Fn(Protocol, &mut Output)>(
        &mut self,
        client: ClientRef,
        push: &mut Push<W>,
        is_own: bool,
    ) {
        let connection = self.connections.get_same(client.conn, client.generation);
        let Some(connection) = connection.filter(|connection| !connection.is_closing) else {
            return;
        };
        connection.push(push.form(connection.session.protocol), is_own);
        let is_long = connection.unsent_bytes() > self.clients.output_bytes_free;
        self.make_dirty(client.conn);
        if is_long {
            self.check_output(client.conn);
        }
    }
}

/// Returns whether the cause of a message is this connection of shard `home`.
fn is_of(cause: Cause, home: usize, client: ClientRef) -> bool {
    usize::from(cause.home) == home
        && cause.conn == client.conn
        && cause.generation == client.generation
}
