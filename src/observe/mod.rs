//! Recording: counters, gauges and histograms of each shard, and the log.
//!
//! Must not know: the modules that record, and the format of INFO. It makes no decisions.
//!
//! A shard writes its own [`Board`] with plain loads and stores, and any thread reads all boards:
//! INFO sends no message. [`Boards`] adds them up, minus the baseline of CONFIG RESETSTAT.

mod board;
mod boards;
mod buckets;
mod command_log;
mod counter;
mod errors;
mod events;
mod latency;
mod log;
mod monitors;
mod rates;
mod slot_usage;
mod stages;

pub use board::{Board, CommandCounters, Counters, DatabaseGauges, GaugeBoard, Gauges, Totals};
pub use boards::{Boards, CommandStats};
pub use command_log::{
    LOGGED_ARG_BYTES_MAX, LOGGED_ARGS_MAX, LogEntry, LogKind, LoggedArgs, REDACTED, logged_args,
};
pub use counter::{Counter, Gauge, Peak};
pub use errors::{ERROR_WORDS_MAX, ErrorCount, ErrorOrigin, Errors};
pub use events::{EVENT_SAMPLES_MAX, EventSample, EventSeries, LatencyEvents};
pub use latency::{LATENCY_NS_MAX, LATENCY_NS_MIN, Latencies, LatencyBatch};
pub use log::{Level, LineLimit, Log, LogForm};
pub use monitors::{Lines, MONITOR_BYTES_MAX, Monitor, Monitors};
pub use rates::{Rate, Rates};
pub use slot_usage::{SlotSpent, SlotUsage};
pub use stages::{
    STAGE_CLASSES, STAGE_NS_MAX, Stage, StageClasses, Stages, stage_class_bound_ns, stage_histogram,
};
