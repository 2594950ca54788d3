//! The plan of a transaction: where each command runs, and which shards take part.

use super::planned::Plan;
use super::sliced::Ahead;
use crate::exec::{BatchArgs, Item, Session, SessionContext};
use crate::gate::Place;
use crate::io::ConnId;
use crate::partition::Env;
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
        let mut ahead = Ahead { db: session.db, session: None };
        let (items, mut batch_args) = queue.parts();
        for item in items.iter_mut() {
            Shard::plan_item(&self.env, &mut plan, (session, &mut ahead), item, &mut batch_args);
            Shard::plan_shards(&self.env, &mut plan, item, &mut batch_args);
        }
        plan.complete((self.env.me as u16, self.env.router.shards()), items, session);
        plan
    }

    /// Adds one command to a plan, without the shards that take part. `ahead` is the session after
    /// the commands before it.
    pub(super) fn plan_item(
        env: &Env,
        plan: &mut Plan,
        (session, ahead): (&Session, &mut Ahead),
        item: &mut Item,
        batch_args: &mut BatchArgs<'_>,
    ) {
        let mut args = batch_args.of(item);
        let entry = item.entry;
        let mut place = Place::Shard(env.me as u16);
        // A command that is refused now is planned all the same: an earlier command may change the
        // user.
        let selects = entry.selects_database() && item.refused.is_none();
        if let Some(run) = entry.on_session().filter(|_| selects) {
            let mut unread = Output::default();
            let mut context = SessionContext {
                is_in_exec: true,
                session: ahead.session.get_or_insert_with(|| session.clone()),
                process: &env.process,
                entry,
                now_us: env.now.unix_us,
                shard: env.me,
                reply: Reply::new(&mut unread, session.protocol),
                request: None,
            };
            // An invalid database is refused when the command runs.
            let _ = run(&mut context, &mut args);
            ahead.db = context.session.db;
        } else if entry.publishes() {
            plan.publishes = true;
            item.db = ahead.db as u16;
        } else if entry.on_session().is_none() {
            item.discovers = entry.discovers_keys(&args, &env.process);
            let with = (entry, item.discovers);
            (place, item.slot) = env.router.place(with, &args, env.me as u16);
            let keys = &|| env.process.boards.database(ahead.db)[0];
            place = env.router.walk_place(entry, &args, place, keys);
            place = entry.place_on_port(session.port_of).map_or(place, Place::Shard);
            item.db = ahead.db as u16;
            item.sees_due = session.is_import_source;
            item.is_quiet = session.is_no_touch;
            item.is_tracked = session.tracks_reads();
            item.is_asking = session.is_asking;
            item.is_tls = session.is_tls;
            item.is_on_port = session.port_of.is_some();
            item.user = session.user_in((entry, ahead.db), &args, env.process.databases);
            plan.gathers |= place == Place::Several && entry.gathers_keys();
        }
        plan.has_session |= item.is_at_home();
        plan.has_ask |= entry.command.asks_shards;
        plan.places.push(place);
    }

    /// Adds the shards on which the last command of a plan runs.
    pub(super) fn plan_shards(
        env: &Env,
        plan: &mut Plan,
        item: &Item,
        batch_args: &mut BatchArgs<'_>,
    ) {
        if item.entry.on_session().is_none() && !item.entry.publishes() {
            let (args, place) = (batch_args.of(item), plan.places[plan.places.len() - 1]);
            env.router.for_each_shard(item, &args, place, &mut |shard| plan.add(shard));
        }
    }
}
