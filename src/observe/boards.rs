//! The boards of all shards: sums for INFO, and CONFIG RESETSTAT.
//!
//! A reset does not stop any shard. It records the sums of that moment, and later sums are shown
//! minus those. Histograms and error counts, which are under a lock anyway, are cleared.

use super::board::{Board, DatabaseGauges, Gauges, Totals};
use super::command_log::{LogEntry, LogIds, LogKind};
use super::errors::OVERFLOW_WORD;
use super::events::LatencyEvents;
use super::rates::{RATES, Rates};
use super::slot_usage::SlotUsage;
use super::stages::{Stage, stage_histogram};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counters of one command over all shards since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandStats {
    /// Number of runs.
    pub calls: u64,
    /// Nanoseconds of all runs.
    pub ns: u64,
    /// Number of calls refused before they ran.
    pub rejected: u64,
    /// Number of runs that ended in an error reply.
    pub failed: u64,
}

/// The boards of all shards, including the acceptor's if it has one.
#[derive(Debug)]
pub struct Boards {
    boards: Vec<Arc<Board>>,
    commands: usize,
    generation: AtomicU64,
    baseline: Mutex<Baseline>,
    log_ids: LogIds,
    /// The latency events, by name.
    pub events: LatencyEvents,
    /// The rates per second.
    pub rates: Rates,
    /// What the commands on each hash slot have used.
    pub slot_usage: SlotUsage,
}

#[derive(Debug)]
struct Baseline {
    totals: Totals,
    commands: Vec<CommandStats>,
}

impl Boards {
    /// Creates boards for this number of shards, databases and commands.
    pub fn new(shards: usize, databases: usize, commands: usize) -> Boards {
        let boards = (0..shards).map(|_| Arc::new(Board::new(databases, commands))).collect();
        let baseline = Baseline {
            totals: Totals::default(),
            commands: vec![CommandStats::default(); commands],
        };
        Boards {
            boards,
            commands,
            generation: AtomicU64::new(0),
            baseline: Mutex::new(baseline),
            log_ids: LogIds::default(),
            events: LatencyEvents::default(),
            rates: Rates::default(),
            slot_usage: SlotUsage::default(),
        }
    }

    /// Returns the board of one shard.
    pub fn board(&self, shard: usize) -> &Arc<Board> {
        &self.boards[shard]
    }

    /// Returns all boards.
    pub fn iter(&self) -> impl Iterator<Item = &Board> {
        self.boards.iter().map(|board| &**board)
    }

    /// Returns the number of resets so far, as [`super::Peak`] needs it.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Returns the counts since the last reset.
    pub fn totals(&self) -> Totals {
        let baseline = self.lock().totals;
        let mut totals = self.raw_totals();
        totals.subtract(&baseline);
        totals
    }

    /// Returns the number of commands that have removed all keys, counted on each shard.
    pub fn flushes(&self) -> u64 {
        self.iter().map(|board| board.counters.flushes.get()).sum()
    }

    /// Returns the sums of all gauges.
    pub fn gauges(&self) -> Gauges {
        let mut gauges = Gauges::default();
        self.iter().for_each(|board| gauges.add(&board.gauges));
        gauges
    }

    /// Takes a sample for [`Boards::rates`], if one is due at `now_ns` (monotonic). Only one shard
    /// may call it.
    pub fn sample_rates(&self, now_ns: u64) {
        if self.rates.is_due(now_ns) {
            let totals = self.raw_totals();
            let counts: [u64; RATES] = [
                totals.commands_processed,
                totals.net_input_bytes,
                totals.net_output_bytes,
                totals.replica_output_bytes,
                totals.cycles,
                totals.cycle_ns_sum,
            ];
            self.rates.sample(now_ns, counts);
        }
    }

    /// Returns the average time to live in milliseconds over the keys of a database that have one.
    pub fn ttl_ms(&self, number: usize) -> u64 {
        let all = || self.iter().map(|board| &board.databases[number]);
        let keys: i64 = all().map(|database| database.volatile.get().max(0)).sum();
        // Wider, because a client may set the largest expiry of 64 bits for many keys.
        let product = |one: &DatabaseGauges| {
            i128::from(one.volatile.get().max(0)) * i128::from(one.ttl_ms.get())
        };
        let sum: i128 = all().map(product).sum();
        if keys == 0 { 0 } else { (sum / i128::from(keys)).max(0) as u64 }
    }

    /// Returns the largest number of commands in one turn since the last reset.
    pub fn most_commands(&self) -> u64 {
        let generation = self.generation();
        self.iter().map(|board| board.turn_commands.recent(generation)).max().unwrap_or(0)
    }

    /// Returns the nanoseconds of all commands since the last reset.
    pub fn commands_ns(&self) -> u64 {
        (0..self.commands).map(|index| self.command(index).ns).sum()
    }

    /// Returns the bytes that all clients without replicas use.
    pub fn normal_client_bytes(&self) -> u64 {
        self.iter().map(|board| board.gauges.normal_client_bytes.get()).sum::<i64>().max(0) as u64
    }

    /// Returns the class of the largest client that may be evicted, and its shard.
    pub fn largest_evictable_class(&self) -> (i64, usize) {
        let classes = self.iter().map(|board| board.evictable_class.get());
        classes.zip(0..).max_by_key(|(class, _)| *class).expect("there is a board")
    }

    /// Returns a shard with this class of its largest client that may be evicted.
    pub fn shard_of_class(&self, class: i64) -> Option<usize> {
        self.iter().position(|board| board.evictable_class.get() == class)
    }

    /// Returns the largest recent sizes of one client's input and output, in bytes.
    pub fn recent_client_peaks(&self) -> [u64; 2] {
        let max = |one: &dyn Fn(&Board) -> i64| self.iter().map(one).max().unwrap_or(0) as u64;
        [max(&|board| board.input_peak_bytes.get()), max(&|board| board.output_peak_bytes.get())]
    }

    /// Returns the number of keys of a database, of its keys with a time to live, and of its keys
    /// with fields that have one.
    pub fn database(&self, number: usize) -> [u64; 3] {
        let sum = |one: &dyn Fn(&Board) -> i64| self.iter().map(one).sum::<i64>().max(0) as u64;
        [
            sum(&|board| board.databases[number].keys.get()),
            sum(&|board| board.databases[number].volatile.get()),
            sum(&|board| board.databases[number].with_moments.get()),
        ]
    }

    /// Returns the bytes of the tables that lead to the keys of a database.
    pub fn table_bytes(&self, number: usize) -> u64 {
        let sum: i64 = self.iter().map(|board| board.databases[number].table_bytes.get()).sum();
        sum.max(0) as u64
    }

    /// Returns the longest turn of any shard in nanoseconds: since the last reset, and since the
    /// start.
    pub fn longest_turn_ns(&self) -> (u64, u64) {
        let generation = self.generation();
        let recent = self.iter().map(|board| board.turn_ns.recent(generation)).max();
        let ever = self.iter().map(|board| board.turn_ns.ever()).max();
        (recent.unwrap_or(0), ever.unwrap_or(0))
    }

    /// Returns the deepest inbox of any shard in envelopes: since the last reset, and since the
    /// start.
    pub fn deepest_inbox(&self) -> (u64, u64) {
        let generation = self.generation();
        let recent = self.iter().map(|board| board.inbox.recent(generation)).max();
        let ever = self.iter().map(|board| board.inbox.ever()).max();
        (recent.unwrap_or(0), ever.unwrap_or(0))
    }

    /// Returns one command's counters since the last reset.
    pub fn command(&self, index: usize) -> CommandStats {
        let earlier = self.lock().commands[index];
        let now = self.raw_command(index);
        CommandStats {
            calls: now.calls.wrapping_sub(earlier.calls),
            ns: now.ns.wrapping_sub(earlier.ns),
            rejected: now.rejected.wrapping_sub(earlier.rejected),
            failed: now.failed.wrapping_sub(earlier.failed),
        }
    }

    /// Returns one command's latencies in nanoseconds since the last reset; `None` if there are
    /// none.
    pub fn latencies(&self, index: usize) -> Option<Histogram<u64>> {
        let mut sum = None;
        self.iter().for_each(|board| board.latencies.add_to(index, &mut sum));
        sum
    }

    /// Clears the latencies of one command.
    pub fn reset_latencies(&self, index: usize) {
        self.iter().for_each(|board| board.latencies.clear(index));
    }

    /// Returns error replies by first word since the last reset, sorted. Beyond
    /// [`super::ERROR_WORDS_MAX`] different words, further words of scripts share one entry.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let (mut sum, mut words) = (BTreeMap::new(), [0; 2]);
        for board in self.iter() {
            for (word, count) in board.errors.counts() {
                let is_known = word == OVERFLOW_WORD || sum.contains_key(&word);
                let words = &mut words[count.origin as usize];
                let has_room = is_known || count.origin.has_room(*words);
                *words += usize::from(has_room && !is_known);
                let word = if has_room { word } else { OVERFLOW_WORD.to_owned() };
                *sum.entry(word).or_insert(0) += count.replies;
            }
        }
        sum
    }

    /// Returns the durations of a command's traced requests by stage since the last reset, on one
    /// shard or on all; `None` if none was traced.
    pub fn stages(
        &self,
        index: usize,
        shard: Option<usize>,
    ) -> Option<Box<[Histogram<u64>; Stage::ALL.len()]>> {
        let mut sums = Box::new(std::array::from_fn(|_| stage_histogram()));
        let mut is_traced = false;
        for (at, board) in self.iter().enumerate() {
            if shard.is_none_or(|shard| shard == at) {
                is_traced |= board.stages.add_to(index, &mut sums);
            }
        }
        is_traced.then_some(sums)
    }

    /// Clears the durations of traced requests.
    pub fn reset_stages(&self) {
        self.iter().for_each(|board| board.stages.clear());
    }

    /// Adds an entry to a shard's command log, with a new number. The shard keeps at most
    /// `entries_max` entries.
    pub fn log(&self, shard: usize, kind: LogKind, entry: LogEntry, entries_max: u64) {
        if entries_max > 0 {
            let entry = LogEntry { id: self.log_ids.next(kind), ..entry };
            self.boards[shard].log[kind as usize].push(entry, entries_max as usize);
        }
    }

    /// Returns the length of the command log, at most `entries_max`.
    pub fn logged_len(&self, kind: LogKind, entries_max: u64) -> u64 {
        let sum: usize = self.iter().map(|board| board.log[kind as usize].len()).sum();
        (sum as u64).min(entries_max)
    }

    /// Returns the newest entries of the command log, at most `count`, the newest first.
    pub fn logged(&self, kind: LogKind, count: u64) -> Vec<LogEntry> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut entries: Vec<LogEntry> =
            self.iter().flat_map(|board| board.log[kind as usize].newest(count)).collect();
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
        entries.truncate(count);
        entries
    }

    /// Clears the command log of one kind.
    pub fn clear_logged(&self, kind: LogKind) {
        self.iter().for_each(|board| board.log[kind as usize].clear());
    }

    /// Carries out CONFIG RESETSTAT.
    pub fn reset(&self) {
        let mut baseline = self.lock();
        baseline.totals = self.raw_totals();
        baseline.commands = (0..self.commands).map(|index| self.raw_command(index)).collect();
        self.generation.fetch_add(1, Ordering::Relaxed);
        for board in self.iter() {
            board.errors.clear();
            board.latencies.clear_all();
            board.stages.clear();
        }
        self.rates.clear();
        self.slot_usage.reset_all();
    }

    fn raw_totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.iter().for_each(|board| totals.add(&board.counters));
        totals
    }

    fn raw_command(&self, index: usize) -> CommandStats {
        let mut sum = CommandStats::default();
        for command in self.iter().map(|board| &board.commands[index]) {
            sum.calls = sum.calls.wrapping_add(command.calls.get());
            sum.ns = sum.ns.wrapping_add(command.ns.get());
            sum.rejected = sum.rejected.wrapping_add(command.rejected.get());
            sum.failed = sum.failed.wrapping_add(command.failed.get());
        }
        sum
    }

    fn lock(&self) -> MutexGuard<'_, Baseline> {
        // If a thread panicked in the middle of a change, the baseline is only a wrong number.
        self.baseline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::errors::ERROR_WORDS_MAX;
    use super::*;
    use std::thread;

    #[test]
    fn the_average_of_the_longest_times_to_live_is_exact() {
        let boards = Boards::new(2, 1, 1);
        assert_eq!(boards.ttl_ms(0), 0);
        for board in boards.iter() {
            board.databases[0].volatile.add(1_000);
            board.databases[0].ttl_ms.set(i64::MAX);
        }
        assert_eq!(boards.ttl_ms(0), i64::MAX as u64);
    }

    #[test]
    fn sums_cover_all_shards_and_reset_clears_them() {
        let boards = Boards::new(3, 2, 4);
        for (shard, board) in boards.iter().enumerate() {
            board.counters.commands_processed.add(10 + shard as u64);
            board.gauges.clients.add(2);
            board.databases[1].keys.add(5);
            board.databases[1].volatile.add(1);
            board.commands[3].calls.add(1);
            board.commands[3].ns.add(100);
            board.turn_ns.see(50 * (shard as u64 + 1), boards.generation());
            board.latencies.batch().record(3, 1_000, 2);
            board.error_reply(b"WRONGTYPE Operation against a key");
        }
        assert_eq!(boards.totals().commands_processed, 33);
        assert_eq!(boards.totals().error_replies, 3);
        assert_eq!(boards.gauges().clients, 6);
        assert_eq!((boards.database(0), boards.database(1)), ([0; 3], [15, 3, 0]));
        let stats = CommandStats { calls: 3, ns: 300, rejected: 0, failed: 0 };
        assert_eq!(boards.command(3), stats);
        assert_eq!(boards.longest_turn_ns(), (150, 150));
        assert_eq!(boards.latencies(3).unwrap().len(), 6);
        assert!(boards.latencies(2).is_none());
        assert_eq!(boards.errors(), BTreeMap::from([("WRONGTYPE".to_owned(), 3)]));

        boards.reset();
        assert_eq!(boards.totals(), Totals::default());
        assert_eq!(boards.command(3), CommandStats::default());
        assert_eq!(boards.longest_turn_ns(), (0, 150));
        assert!(boards.latencies(3).is_none() && boards.errors().is_empty());
        assert_eq!(boards.gauges().clients, 6);

        boards.board(0).counters.commands_processed.add(1);
        boards.board(0).turn_ns.see(7, boards.generation());
        assert_eq!(boards.totals().commands_processed, 1);
        assert_eq!(boards.longest_turn_ns(), (7, 150));
    }

    #[test]
    fn the_newest_commands_of_all_shards_are_shown() {
        let boards = Boards::new(2, 1, 1);
        let entry = |value| LogEntry {
            id: 0,
            unix_s: 1,
            value,
            args: Vec::new(),
            address: String::new(),
            name: Vec::new(),
        };
        for value in 0..10 {
            boards.log(value as usize % 2, LogKind::Slow, entry(value), 3);
        }
        boards.log(0, LogKind::LargeReply, entry(7), 0);
        assert_eq!(boards.logged_len(LogKind::Slow, 3), 3);
        assert_eq!(boards.logged_len(LogKind::Slow, 100), 6);
        assert_eq!(boards.logged_len(LogKind::LargeReply, 3), 0);
        let shown = |count| boards.logged(LogKind::Slow, count);
        let ids: Vec<u64> = shown(4).iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [9, 8, 7, 6]);
        assert!(shown(4).iter().all(|entry| entry.id == entry.value));
        boards.clear_logged(LogKind::Slow);
        assert!(shown(4).is_empty());
    }

    #[test]
    fn readers_see_no_counter_decrease() {
        const ROUNDS: u64 = 20_000;
        let boards = Arc::new(Boards::new(2, 1, 1));
        let writers: Vec<_> = (0..2)
            .map(|shard| {
                let board = boards.board(shard).clone();
                thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        board.counters.keyspace_hits.add(1);
                        board.latencies.batch().record(0, 10, 1);
                    }
                })
            })
            .collect();
        let mut last = 0;
        while !writers.iter().all(thread::JoinHandle::is_finished) {
            let now = boards.totals().keyspace_hits;
            assert!(now >= last && now <= 2 * ROUNDS);
            last = now;
            boards.latencies(0);
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(boards.totals().keyspace_hits, 2 * ROUNDS);
        assert_eq!(boards.latencies(0).unwrap().len(), 2 * ROUNDS);
    }

    #[test]
    fn error_words_are_bounded_over_all_shards() {
        let boards = Boards::new(2, 1, 0);
        for (shard, board) in boards.iter().enumerate() {
            for word in 0..100 {
                board.script_error(format!("S{shard}W{word} text").as_bytes());
            }
        }
        boards.board(1).error_reply(b"ERR of a command");
        let errors = boards.errors();
        assert_eq!(errors.len(), ERROR_WORDS_MAX + 2);
        assert_eq!(errors[OVERFLOW_WORD], 200 - ERROR_WORDS_MAX as u64);
        assert_eq!(errors["ERR"], 1);
    }
}
