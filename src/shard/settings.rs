//! Applies changed settings.

use super::state::Shard;
use crate::exec::Facts;

impl Shard {
    /// Reads changed settings. Costs one comparison if nothing has changed.
    #[inline]
    pub(super) fn refresh_settings(&mut self) {
        self.partition.env_mut().refresh_settings();
        if self.env.refresh_settings() {
            let interval = self.env.config.latency_profile_interval;
            self.telemetry.profile.draw(interval, &mut self.rng);
        }
        let threshold_ms = self.env.config.busy_reply_threshold;
        let now_ms = self.env.now.monotonic_ms();
        let are_busy = self.env.process.running.are_busy(now_ms, threshold_ms);
        self.env.facts.set(Facts::BUSY, are_busy);
        if are_busy {
            let lines = self.env.process.running.slow_lines(now_ms, threshold_ms);
            lines.iter().for_each(|line| self.env.process.log.warning(line));
        }
        let has_disk_error = self.env.process.has_disk_error(&self.env.config);
        self.env.facts.set(Facts::DISK_ERROR, has_disk_error);
    }

    /// Applies the settings to the partition, the gates and the limits.
    pub(super) fn settle_settings(&mut self) {
        self.partition.env_mut().facts = self.env.facts;
        self.partition.settle_settings();
        let config = &self.env.config;
        let (wanted, lag_max_s) = (config.min_replicas_to_write, config.min_replicas_max_lag);
        let are_few = wanted > 0 && lag_max_s > 0 && {
            let now_s = self.env.now.unix_ms() / 1_000;
            let replication = self.env.process.replication();
            (replication.good_replicas(now_s, u64::from(lag_max_s)) as u64) < u64::from(wanted)
        };
        self.env.facts.set(Facts::FEW_REPLICAS, are_few);
        self.settle_limits();
        self.heed_appendonly();
    }
}
