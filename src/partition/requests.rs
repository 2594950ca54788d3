//! Requests to the partition: about its keys, watches and journal.

use super::absence::Late;
use super::journal::Place;
use super::partition::Partition;
use crate::commands::answer_debug;
use crate::exec::{LoadStep, Request};
use crate::mesh::{Envelope, Work};
use crate::resp::Reply;
use bytes::Bytes;
use std::collections::HashMap;

impl Partition {
    /// Carries out a request that all partitions carry out at one moment, in the order of the units
    /// that change keys.
    pub(super) fn answer_in_order(&mut self, mut part: Box<Envelope>, place: Place) {
        let records = self.records_at(place);
        if let Work::Control { request: Request::Cut(_), .. } = part.work {
            self.journal.write_part(place, &part, records);
            // Its lock on all keys is granted.
            return self.begin_cut(part, HashMap::new());
        }
        self.answer_request(&mut part);
        self.journal.write_part(place, &part, records);
        self.serve_blocked_behind();
        self.answer_later(part);
    }

    /// Carries out the request of a part at once and sends the reply. Returns the part if the
    /// request is for the shard.
    pub fn take_request(&mut self, mut part: Box<Envelope>) -> Option<Box<Envelope>> {
        if self.must_wait_for_slice(&part) {
            self.do_later(Late::Request(part));
            return None;
        }
        if !self.answer_request(&mut part) {
            return Some(part);
        }
        self.serve_blocked_behind();
        self.answer(part);
        None
    }

    /// Carries out a request that has waited for the slice.
    pub(super) fn answer_late(&mut self, mut part: Box<Envelope>) {
        let is_answered = self.answer_request(&mut part);
        assert!(is_answered, "only a request about keys waits for the slice");
        self.answer(part);
    }

    /// Writes the reply to a part's request into its envelope. Returns false if the request is for
    /// the shard.
    fn answer_request(&mut self, part: &mut Envelope) -> bool {
        let Work::Control { request, at } = &part.work else { return false };
        let (request, at) = (request.clone(), *at);
        let started_ns = self.env.clock_ns();
        match &request {
            Request::Debug(ask) => {
                let mut reply = Reply::new(&mut part.output, part.protocol);
                answer_debug(ask, &mut self.slice, &self.env.config, &mut reply);
                self.publish();
            }
            _ => {
                if !self.carry_out(&request, part) {
                    return false;
                }
                Reply::new(&mut part.output, part.protocol).ok();
            }
        }
        part.ends.push(part.output.mark());
        if part.reply_to.client().is_some() {
            part.spent.push((at, self.env.clock_ns().saturating_sub(started_ns)));
        }
        true
    }

    fn carry_out(&mut self, request: &Request, part: &mut Envelope) -> bool {
        match request {
            Request::ActiveExpire(on) => self.slice.set_active_expiry(*on),
            Request::LogTable => self.log_table(),
            Request::FeedOn | Request::Passed => {}
            Request::Leave => self.leave(),
            Request::Reload(reload) => self.reload(part, *reload),
            Request::Mark(id) => self.mark(part, *id),
            Request::LastMark(id) => {
                self.close_journal();
                self.mark(part, *id);
            }
            Request::LoadStep(LoadStep::Empty(id)) => {
                self.mark(part, *id);
                self.empty_for_load();
            }
            Request::WatchHere { client, db, keys } => self.watch(*client, *db, keys),
            _ => return false,
        }
        true
    }

    /// Writes a mark. The reply has a body if the journal is on.
    fn mark(&mut self, part: &mut Envelope, id: u64) {
        let timestamp = self.journal.arrived(part.sent.timestamp);
        self.write_mark(timestamp, part, id);
        let is_on = self.is_journal_on().then(|| Bytes::from_static(b"1"));
        part.body = is_on.into_iter().collect();
    }

    fn log_table(&self) {
        for db in 0..self.env.config.database_count() as usize {
            if self.slice.len(db) > 0 {
                let info = self.slice.table_info(db);
                let line = format!("Shard {} db {db}: {info:?}", self.env.me);
                self.env.process.log.notice(&line);
            }
        }
    }
}
