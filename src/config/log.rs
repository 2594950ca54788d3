//! Settings of the log and of measurements.

use super::card::{Applied, Kind, Setting, Value, any_text, field};
use super::{LogFormat, LogLevel, LogTimestampFormat, SyslogFacility};

const LONG_MAX: i128 = i64::MAX as i128;

/// The cards of these settings.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new("loglevel", Kind::Choice(LogLevel::WORDS), "notice", field!(loglevel))
        .apply(Applied::Log),
    Setting::new("logfile", Kind::Text(any_text), "", field!(logfile)).immutable(),
    Setting::new("log-format", Kind::Choice(LogFormat::WORDS), "legacy", field!(log_format))
        .apply(Applied::Log),
    Setting::new(
        "log-timestamp-format",
        Kind::Choice(LogTimestampFormat::WORDS),
        "legacy",
        field!(log_timestamp_format),
    )
    .apply(Applied::Log),
    Setting::new("hide-user-data-from-log", Kind::Bool, "yes", field!(hide_user_data_from_log)),
    Setting::new("syslog-enabled", Kind::Bool, "no", field!(syslog_enabled)).immutable(),
    Setting::new("syslog-ident", Kind::Text(any_text), "valkey", field!(syslog_ident)).immutable(),
    Setting::new(
        "syslog-facility",
        Kind::Choice(SyslogFacility::WORDS),
        "local0",
        field!(syslog_facility),
    )
    .immutable(),
    Setting::new("always-show-logo", Kind::Bool, "no", field!(always_show_logo)).immutable(),
    Setting::new(
        "commandlog-execution-slower-than",
        Kind::Int(-1, LONG_MAX),
        "10000",
        field!(commandlog_execution_slower_than),
    )
    .shards_settle()
    .alias("slowlog-log-slower-than"),
    Setting::new(
        "commandlog-slow-execution-max-len",
        Kind::Int(0, LONG_MAX),
        "128",
        field!(commandlog_slow_execution_max_len),
    )
    .shards_settle()
    .alias("slowlog-max-len"),
    Setting::new(
        "latency-profile-interval",
        Kind::Int(0, 1_000_000_000),
        "64",
        field!(latency_profile_interval),
    )
    .shards_settle(),
    Setting::new(
        "commandlog-request-larger-than",
        Kind::Int(-1, LONG_MAX),
        "1048576",
        field!(commandlog_request_larger_than),
    )
    .shards_settle(),
    Setting::new(
        "commandlog-large-request-max-len",
        Kind::Int(0, LONG_MAX),
        "128",
        field!(commandlog_large_request_max_len),
    )
    .shards_settle(),
    Setting::new(
        "commandlog-reply-larger-than",
        Kind::Int(-1, LONG_MAX),
        "1048576",
        field!(commandlog_reply_larger_than),
    )
    .shards_settle(),
    Setting::new(
        "commandlog-large-reply-max-len",
        Kind::Int(0, LONG_MAX),
        "128",
        field!(commandlog_large_reply_max_len),
    )
    .shards_settle(),
    Setting::new("lua-enable-insecure-api", Kind::Bool, "no", field!(lua_enable_insecure_api))
        .alias("lua-enable-deprecated-api")
        .protected()
        .hidden()
        .shards_settle(),
    Setting::new(
        "busy-reply-threshold",
        Kind::Int(0, LONG_MAX),
        "5000",
        field!(busy_reply_threshold),
    )
    .shards_settle()
    .alias("lua-time-limit"),
    Setting::new("latency-tracking", Kind::Bool, "yes", field!(latency_tracking)),
    Setting::new(
        "latency-tracking-info-percentiles",
        Kind::Words(read_percentiles),
        "50 99 99.9",
        field!(latency_tracking_info_percentiles),
    ),
    Setting::new(
        "latency-monitor-threshold",
        Kind::Int(0, LONG_MAX),
        "0",
        field!(latency_monitor_threshold),
    )
    .shards_settle(),
];

/// Parses numbers from 0 to 100; one empty argument means none.
fn read_percentiles(args: &[&[u8]], _: &Value) -> Result<Value, String> {
    if let [b""] = args {
        return Ok(Value::Words(Vec::new()));
    }
    let read = |word: &&[u8]| {
        let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<f64>().ok());
        match number {
            None => Err("Invalid latency-tracking-info-percentiles parameters".to_owned()),
            Some(number) if (0.0..=100.0).contains(&number) => Ok(percentile_text(number)),
            Some(_) => Err("latency-tracking-info-percentiles parameters should sit between \
                            [0.0,100.0]"
                .to_owned()),
        }
    };
    Ok(Value::Words(args.iter().map(read).collect::<Result<_, _>>()?))
}

/// Formats a percentile with at most six decimals, without trailing zeros.
fn percentile_text(number: f64) -> Vec<u8> {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned().into_bytes()
}
