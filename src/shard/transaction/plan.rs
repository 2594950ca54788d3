//! The plan of a transaction: where each command runs, and which shards take part.

use super::Plan;
use crate::exec::SessionContext;
use crate::gate::Place;
use crate::io::ConnId;
use crate::resp::{Output, Reply};
use crate::shard::state::Shard;
use crate::txn::Queue;

impl Shard {
    /// Determines where each command runs, on which database, and which shards take part.
    pub(super) fn plan(&mut self, conn: ConnId, queue: &mut Queue, watched: &[u16]) -> Plan {
        let mut plan = std::mem::take(&mut self.transactions.plan);
        plan.clear();
        plan.shards.extend_from_slice(watched);
        let connection = self.connections.get_mut(conn).expect("connection is open");
        let session = &connection.session;
        let (mut db, is_quiet) = (session.db, session.is_no_touch);
        let sees_due = session.is_import_source;
        let mut ahead = None;
        let (items, mut batch_args) = queue.parts();
        for item in items {
            let mut args = batch_args.of(item);
            let entry = item.entry;
            let mut place = Place::Shard(self.env.me as u16);
            if let Some(run) = entry.on_session().filter(|_| entry.selects_database()) {
                let mut unread = Output::default();
                let mut context = SessionContext {
                    session: ahead.get_or_insert_with(|| session.clone()),
                    process: &self.env.process,
                    entry,
                    now_us: self.env.now.unix_us,
                    shard: self.env.me,
                    reply: Reply::new(&mut unread, session.protocol),
                    request: None,
                };
                // An invalid database is refused when the command runs.
                let _ = run(&mut context, &mut args);
                db = context.session.db;
            } else if entry.on_session().is_none() {
                (place, item.slot) = self.env.router.place(entry, &args, self.env.me as u16);
                let boards = &self.env.process.boards;
                let keys = &|| boards.database(db)[0];
                place = self.env.router.walk_place(entry, &args, place, keys);
                item.db = db as u16;
                item.sees_due = sees_due;
                item.is_quiet = is_quiet;
                let is_joint = entry.gathers_keys();
                plan.gathers |= place == Place::Several && is_joint;
                self.env.router.for_each_shard(entry, &args, place, &mut |shard| plan.add(shard));
            }
            let is_session = entry.on_session().is_some();
            plan.has_session |= is_session;
            plan.has_ask |= entry.command.asks_shards;
            plan.places.push(place);
        }
        plan.shards.sort_unstable();
        plan
    }
}
