//! Rewrites of the append-only file: when they begin, and the settings that turn it on and off.
//!
//! ```text
//!   BGREWRITEAOF, growth, CONFIG SET appendonly yes
//!     '--> a file of a cut (`file_cut.rs`); its mark is where the thread begins the next file
//!             '--> EndRewrite to the thread: it renames the base and writes the manifest
//! ```

use super::{FileGoal, FileJob};
use crate::exec::{AofMode, AofOrder, BaseForm};
use crate::rdb::Limits;
use crate::resp::{Error, Output, Protocol, Reply};
use crate::shard::state::Shard;
use crate::snapshot::{CommandRules, FileOrder, Written};

impl Shard {
    /// BGREWRITEAOF: begins a rewrite or plans one, and writes the reply. In EXEC a rewrite is only
    /// planned.
    pub(in crate::shard) fn rewrite_aof(
        &mut self,
        is_in_exec: bool,
        (output, protocol): (&mut Output, Protocol),
    ) {
        let mut reply = Reply::new(output, protocol);
        let process = &self.env.process;
        if process.aof.is_rewriting() {
            let mut facts = process.aof.facts();
            if facts.rewrites.is_given_up {
                // It is as good as over.
                (facts.rewrites.is_scheduled, facts.rewrites.failures) = (true, 0);
                facts.rewrites.is_promised = true;
                return reply.simple("Background append only file rewriting started");
            }
            let why = "ERR Background append only file rewriting already in progress";
            return reply.error(&Error::other(why));
        }
        let is_saving = process.persistence().background.is_some();
        if is_saving || is_in_exec {
            let mut facts = process.aof.facts();
            (facts.rewrites.is_scheduled, facts.rewrites.failures) = (true, 0);
            drop(facts);
            process.log.notice("Background append only file rewriting scheduled.");
            return reply.simple("Background append only file rewriting scheduled");
        }
        self.begin_rewrite();
        reply.simple("Background append only file rewriting started");
    }

    fn begin_rewrite(&mut self) {
        let (process, config) = (&self.env.process, &self.env.config);
        process.aof.begin_rewrite(self.env.now.unix_ms() / 1_000);
        let pid = std::process::id();
        process.log.notice(&format!("Background append only file rewriting started by pid {pid}"));
        let form = match config.aof_use_rdb_preamble {
            true => BaseForm::Snapshot,
            false => BaseForm::Commands,
        };
        let written_s = config.aof_timestamp_enabled.then_some(self.env.now.unix_ms() / 1_000);
        let rules = CommandRules { limits: Limits::of(config), written_s };
        let order = FileOrder {
            draft: format!("temp-rewriteaof-{pid}.aof"),
            name: format!("temp-rewriteaof-bg-{pid}.aof"),
            syncs_often: config.aof_rewrite_incremental_fsync,
            is_aof_base: true,
            commands: (form == BaseForm::Commands).then_some(rules),
            cores: self.env.config.aof_rewrite_cpulist.clone(),
            ..self.data_file()
        };
        let has_mark = process.aof.facts().mode != AofMode::Off;
        let goal = FileGoal::Rewrite(form);
        self.want_file(FileJob { has_mark, ..FileJob::new(goal, order) });
    }

    /// Passes the end of a base to the thread of the append-only file.
    pub(super) fn end_rewrite(&mut self, written: &Written, form: BaseForm) {
        if let Written::Failed(why) = written {
            self.env.process.log.warning(why);
        }
        let written = (*written == Written::Complete).then_some(form);
        let number = self.env.process.aof.facts().rewrites.begun;
        self.env.process.aof.order(AofOrder::EndRewrite { number, written });
        self.replication.feed.disk().wake();
    }

    /// Begins a rewrite if one is planned, or if the file has grown enough. Follows the setting
    /// `appendonly`. Only shard 0 does this.
    pub(in crate::shard) fn heed_rewrites(&mut self) {
        let process = &self.env.process;
        let facts = *process.aof.facts();
        let is_ready = facts.has_thread && !process.is_loading() && !self.partition.is_leaving();
        if self.env.me != 0 || !is_ready {
            return;
        }
        self.heed_appendonly();
        let process = &self.env.process;
        let is_saving = process.persistence().background.is_some();
        if process.aof.is_rewriting() || is_saving {
            return;
        }
        let config = &self.env.config;
        let percent = u64::from(config.auto_aof_rewrite_percentage);
        let (size, base) = (facts.current_size, facts.base_size.max(1));
        let growth = (size.saturating_mul(100) / base).saturating_sub(100);
        let has_grown = facts.mode == AofMode::On
            && percent > 0
            && size > config.auto_aof_rewrite_min_size
            && growth >= percent;
        if !facts.rewrites.is_scheduled && !has_grown {
            return;
        }
        let now_s = self.env.now.unix_ms() / 1_000;
        let (is_paused, minutes) = process.aof.facts().rewrites.is_paused(now_s);
        if let Some(minutes) = minutes {
            process.log.warning(&format!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry \
                 in {minutes} minutes"
            ));
        }
        if is_paused {
            return;
        }
        if !facts.rewrites.is_scheduled {
            let line = format!("Starting automatic rewriting of AOF on {growth}% growth");
            process.log.notice(&line);
        }
        self.begin_rewrite();
    }

    /// Turns the append-only file on or off, as the setting says.
    pub(in crate::shard) fn heed_appendonly(&mut self) {
        let process = &self.env.process;
        let mut facts = process.aof.facts();
        let is_on = facts.mode != AofMode::Off;
        let is_ready = facts.has_thread && self.env.me == 0 && !process.is_loading();
        // The thread ends one file before the next one begins in the stream.
        let is_late = facts.is_ending && !is_on;
        if !is_ready || is_late || self.env.config.appendonly == is_on {
            return;
        }
        if is_on {
            (facts.mode, facts.is_ending) = (AofMode::Off, true);
            let was_scheduled = facts.rewrites.unplan();
            drop(facts);
            if was_scheduled {
                process
                    .log
                    .notice("AOF was disabled but there is a scheduled AOF background, cancel it.");
            }
            process.aof.order(AofOrder::End);
        } else {
            facts.mode = AofMode::Beginning;
            facts.rewrites.is_scheduled = true;
            let rewrite = facts.rewrites.begun;
            drop(facts);
            let offset = self.replication.feed.begin_disk();
            process.aof.order(AofOrder::Begin { offset, rewrite });
        }
        self.abandon_rewrite();
        self.replication.feed.disk().wake();
        let process = &self.env.process;
        let is_busy = process.aof.is_rewriting() || process.persistence().background.is_some();
        if !is_on && is_busy {
            process.log.notice(
                "AOF was enabled but there is already another background operation. An AOF \
                 background was scheduled to start when possible.",
            );
        } else if !is_on {
            self.begin_rewrite();
        }
    }

    /// Gives up the base that is being written.
    pub(super) fn abandon_rewrite(&mut self) {
        let facts = self.env.process.persistence();
        if let Some(file) = facts.under_way.as_ref().filter(|_| facts.is_rewriting()) {
            file.progress.abandon();
            drop(facts);
            self.env.process.aof.facts().rewrites.is_given_up = true;
            let pid = std::process::id();
            let line = format!("Killing running AOF rewrite child: {pid}");
            self.env.process.log.notice(&line);
            self.port.mesh().ring_all();
        }
    }
}
