//! CLUSTER SLOT-STATS.

use super::{CLUSTER_DISABLED, slot_arg};
use crate::base::number::parse_i64;
use crate::base::slot::SLOT_COUNT;
use crate::exec::{Command, Context, Merge, SLOT_METRICS, SlotOrder, SlotStats};
use crate::observe::SlotSpent;
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Flag, Group};
use std::ops::RangeInclusive;

pub(super) static SLOT_STATS: Command = Command::all_shards(
    slot_stats,
    Merge::SlotStats,
    Card::new("slot-stats", Group::Cluster, "8.0.0")
        .summary("Return an array of slot usage statistics for slots assigned to the current node.")
        .complexity(
            "O(N) where N is the total number of slots based on arguments. O(N*log(N)) with \
             ORDERBY subcommand.",
        )
        .arity(-4)
        .flags(Flag::LOADING.and(Flag::STALE))
        .tips(&["nondeterministic_output", "request_policy:all_shards"])
        .args(&[Arg::one_of(
            "filter",
            &[
                Arg::block("slotsrange", &[Arg::integer("start-slot"), Arg::integer("end-slot")])
                    .after("SLOTSRANGE"),
                Arg::block(
                    "orderby",
                    &[
                        Arg::string("metric"),
                        Arg::integer("limit").after("LIMIT").optional(),
                        Arg::choice("order", &["ASC", "DESC"]).optional(),
                    ],
                )
                .after("ORDERBY"),
            ],
        )]),
)
.uses_scripting();

fn slot_stats(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    let process = cx.scripting.as_ref().expect("the card says that it needs it").process;
    let (true, Some(cluster)) = (process.is_cluster, process.cluster.get()) else {
        return Err(Error::other(CLUSTER_DISABLED));
    };
    let has_usage = cx.config.cluster_slot_stats_enabled;
    let metrics = if has_usage { &SLOT_METRICS[..] } else { &SLOT_METRICS[..1] };
    let (range, order, metric) = read_options(args, metrics)?;
    let nodes = cluster.nodes();
    let own = cx.slice.slots();
    let shown = range.filter(|slot| own.contains(*slot) && nodes.is_mine(*slot));
    let keys = |slot: u16| {
        let databases = 0..cx.slice.databases();
        databases.map(|db| cx.slice.slot_len(db, slot) as u64).sum::<u64>()
    };
    let figures = |slot: u16| {
        let SlotSpent { cpu_us, bytes_in, bytes_out } = process.boards.slot_usage.of(slot);
        (slot, [keys(slot), cpu_us, bytes_in, bytes_out])
    };
    let slots = shown.map(figures).collect();
    let mut stats = SlotStats { order, metric, shown: metrics.len(), slots };
    stats.settle();
    if cx.is_part {
        stats.write_part(&mut cx.reply);
    } else {
        stats.write(&mut cx.reply);
    }
    Ok(())
}

/// Parses the filter: the slots that are asked for, their order, and the metric of the order.
fn read_options(
    args: &Args<'_>,
    metrics: &[&str],
) -> Result<(RangeInclusive<u16>, SlotOrder, usize), Error> {
    let kind = args[2].to_ascii_lowercase();
    match (&kind[..], args.len()) {
        (b"slotsrange", 5) => {
            let (first, last) = (slot_arg(&args[3])?, slot_arg(&args[4])?);
            if first > last {
                return Err(Error::other(format!(
                    "ERR Start slot number {first} is greater than end slot number {last}"
                )));
            }
            Ok((first..=last, SlotOrder::Number, 0))
        }
        (b"orderby", 4..) => {
            let name = &args[3];
            let mut known = metrics.iter();
            let metric = known.position(|metric| name.eq_ignore_ascii_case(metric.as_bytes()));
            let unknown = || Error::other("ERR Unrecognized sort metric for ORDERBY.");
            let metric = metric.ok_or_else(unknown)?;
            Ok((0..=SLOT_COUNT - 1, read_order(args)?, metric))
        }
        _ => Err(Error::subcommand_syntax(b"cluster", &args[1])),
    }
}

fn read_order(args: &Args<'_>) -> Result<SlotOrder, Error> {
    let (mut limit, mut is_ascending) = (None, None);
    let mut at = 4;
    while let Some(option) = args.get(at) {
        let was_given = match (&option.to_ascii_lowercase()[..], args.get(at + 1)) {
            (b"limit", Some(number)) => {
                at += 1;
                limit.replace(read_limit(number)?).is_some()
            }
            (b"asc", _) => is_ascending.replace(true).is_some(),
            (b"desc", _) => is_ascending.replace(false).is_some(),
            _ => return Err(Error::Syntax),
        };
        if was_given {
            let text = "ERR Multiple filters of the same type are disallowed.";
            return Err(Error::other(text));
        }
        at += 1;
    }
    let limit = limit.unwrap_or(usize::from(SLOT_COUNT));
    let is_ascending = is_ascending.unwrap_or(false);
    Ok(if is_ascending { SlotOrder::Ascending(limit) } else { SlotOrder::Descending(limit) })
}

fn read_limit(arg: &[u8]) -> Result<usize, Error> {
    let limit = parse_i64(arg).filter(|limit| (1..=i64::from(SLOT_COUNT)).contains(limit));
    limit.map(|limit| limit as usize).ok_or_else(|| {
        Error::other("ERR Limit has to lie in between 1 and 16384 (maximum number of slots).")
    })
}
