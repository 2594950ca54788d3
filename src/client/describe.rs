//! The line of a connection in CLIENT LIST and CLIENT INFO, with Valkey's fields in Valkey's order.

use super::Connection;
use crate::exec::{CommandTable, Entry};
use crate::pubsub::Sort;
use crate::resp::Protocol;
use std::io::Write;

/// Appends the connection's line without a line end. `now_ms` is monotonic.
pub fn describe(connection: &Connection, table: &CommandTable, now_ms: u64, out: &mut Vec<u8>) {
    let session = &connection.session;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let last = session.last_command.and_then(|index| table.at(index));
    let asking_bytes = argv_bytes(connection, last);
    let args_bytes = connection.input.args_bytes();
    let pending = connection.outbox.pending_bytes() + connection.stream.unsent_bytes();
    let first_bytes = connection.first_bytes();
    // A client with watched keys has an empty transaction state, which counts as 0 commands.
    let idle = if connection.watched.is_empty() { -1 } else { 0 };
    let multi = session.multi.map_or(idle, |multi| multi.commands as i64);
    let written = write!(
        out,
        "id={id} addr={addr} laddr={laddr} fd={fd} name={name} age={age} idle={idle} flags={flags} \
         capa={capa} db={db} sub={sub} psub={psub} ssub={ssub} multi={multi} watch={watch} \
         qbuf={qbuf} qbuf-free={free} argv-mem={argv} multi-mem={queued} rbs={rbs} rbp={rbs} \
         obl={obl} oll={oll} omem={omem} tot-mem={total} events={events} cmd={cmd} \
         user={user} redir={redir} resp={resp} lib-name={lib} lib-ver={version} \
         tot-net-in={net_in} tot-net-out={net_out} tot-cmds={cmds}",
        id = session.id,
        addr = session.address,
        laddr = session.local_address,
        fd = session.descriptor,
        name = text(&session.name),
        age = (now_ms - session.connected_ms) / 1_000,
        idle = now_ms.saturating_sub(session.active_ms) / 1_000,
        flags = session.flags(),
        capa = session.capabilities(),
        db = session.db,
        sub = session.subscriptions[Sort::Channel as usize],
        psub = session.subscriptions[Sort::Pattern as usize],
        ssub = session.subscriptions[Sort::ShardChannel as usize],
        user = text(session.user_name()),
        redir = session.redirect(),
        watch = connection.watched.len(),
        qbuf = connection.input.pending_bytes() - args_bytes,
        free = connection.input.memory_bytes() - connection.input.pending_bytes(),
        argv = args_bytes + asking_bytes,
        queued = connection.queue.as_ref().map_or(0, |queue| queue.args_bytes()),
        rbs = connection.outbox.output.memory_bytes(),
        obl = first_bytes,
        oll = connection.outbox.chunks(),
        omem = pending - first_bytes,
        total = connection.memory_bytes(),
        events =
            if connection.outbox.is_sending() || !connection.stream.is_idle() { "rw" } else { "r" },
        cmd = last.map_or("NULL", |entry| entry.name.as_str()),
        resp = if session.protocol == Protocol::Three { 3 } else { 2 },
        lib = text(&session.lib_name),
        version = text(&session.lib_version),
        net_in = session.received_bytes,
        net_out = session.sent_bytes,
        // A command that shows its own session is not complete yet, so it does not count.
        cmds = session.commands - u64::from(asking_bytes > 0),
    );
    written.expect("writing to memory does not fail");
}

/// Returns the bytes of the arguments of a session command in progress. Returns 0 for other
/// commands, which have already given their arguments away.
fn argv_bytes(connection: &Connection, last: Option<&Entry>) -> usize {
    let is_session = last.is_some_and(|entry| entry.is_session());
    if is_session { connection.argv_bytes } else { 0 }
}
