//! Commands on whole databases.

use crate::commands::args::{database_at, int_at};
use crate::exec::{Command, Context, Merge};
use crate::resp::{Args, Error};
use crate::spec::{Arg, Card, Category, Databases, Flag, Group};

pub(super) static DBSIZE: Command = Command::all_shards(
    dbsize,
    Merge::Sum,
    Card::new("dbsize", Group::Server, "1.0.0")
        .summary("Returns the number of keys in the database.")
        .constant_time()
        .flags(Flag::READONLY.and(Flag::FAST))
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
)
.surveys_keys();

fn dbsize(cx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.slice.len(cx.db) as i64);
    Ok(())
}

/// Checks the argument SYNC or ASYNC of a flush. The mode makes no difference: flushed values are
/// always freed step by step.
fn check_mode(args: &Args<'_>) -> Result<(), Error> {
    let is_mode =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"SYNC") || arg.eq_ignore_ascii_case(b"ASYNC");
    match args.get(1) {
        None => Ok(()),
        Some(arg) if args.len() == 2 && is_mode(arg) => Ok(()),
        Some(_) => Err(Error::Syntax),
    }
}

/// Whether the values are freed in the background.
const FLUSH_TYPE: Arg = Arg::one_of(
    "flush-type",
    &[Arg::keyword("ASYNC").since("4.0.0"), Arg::keyword("SYNC").since("6.2.0")],
);

pub(super) static FLUSHDB: Command = Command::all_shards(
    flushdb,
    Merge::Ok,
    Card::new("flushdb", Group::Server, "1.0.0")
        .summary("Removes all keys from the current database.")
        .complexity("O(N) where N is the number of keys in the selected database")
        .arity(-1)
        .flags(Flag::WRITE)
        .categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .history(&[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ])
        .args(&[FLUSH_TYPE.optional()]),
);

fn flushdb(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    check_mode(args)?;
    // A flush has no event, as in the reference: only its keys are counted.
    cx.slice.count_changes(cx.slice.len(cx.db) as u64);
    cx.slice.flush(Some(cx.db));
    cx.propagate_always();
    cx.reply.ok();
    Ok(())
}

pub(super) static FLUSHALL: Command = Command::all_shards(
    flushall,
    Merge::Ok,
    Card::new("flushall", Group::Server, "1.0.0")
        .summary("Removes all keys from all databases.")
        .complexity("O(N) where N is the total number of keys in all databases")
        .arity(-1)
        .flags(Flag::WRITE)
        .databases(Databases::All)
        .categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .history(&[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ])
        .args(&[FLUSH_TYPE.optional()]),
);

fn flushall(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    check_mode(args)?;
    let keys: usize = (0..cx.slice.databases()).map(|db| cx.slice.len(db)).sum();
    cx.slice.count_changes(keys as u64);
    cx.slice.flush_all();
    cx.propagate_always();
    cx.reply.ok();
    Ok(())
}

pub(super) static SWAPDB: Command = Command::all_shards(
    swapdb,
    Merge::Ok,
    Card::new("swapdb", Group::Server, "4.0.0")
        .summary("Swaps two databases.")
        .complexity(
            "O(N) where N is the count of clients watching or blocking on keys from both \
             databases.",
        )
        .steady()
        .arity(3)
        .flags(Flag::WRITE.and(Flag::FAST))
        .databases(Databases::At(&[1, 2]))
        .categories(&[Category::Keyspace, Category::Dangerous])
        .args(&[Arg::integer("index1"), Arg::integer("index2")]),
);

/// Swaps two databases. The reference counts one change, so only the part with hash slot 0 counts
/// it.
fn swapdb(cx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), Error> {
    if cx.config.cluster_enabled {
        return Err(Error::other("ERR SWAPDB is not allowed in cluster mode"));
    }
    int_at(&args[1]).map_err(|_| Error::FirstDbInvalid)?;
    int_at(&args[2]).map_err(|_| Error::SecondDbInvalid)?;
    let databases = cx.slice.databases();
    let first = database_at(&args[1], databases)?;
    let second = database_at(&args[2], databases)?;
    if first != second {
        cx.slice.swap_databases(first, second);
    }
    cx.slice.count_changes(u64::from(cx.slice.owns(0)));
    cx.effects.other_databases = true;
    cx.propagate_always();
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Bench, check_feed, check_script, show};

    #[test]
    fn propagated_commands() {
        check_feed(
            r#"
            FLUSHALL => FLUSHALL
            FLUSHDB => FLUSHDB
            FLUSHDB ASYNC => FLUSHDB ASYNC
            FLUSHDB FOO =>
            MSET a 1 b 2 => MSET a 1 b 2
            FLUSHALL SYNC => FLUSHALL SYNC
            SWAPDB 0 1 => SWAPDB 0 1
            SWAPDB 3 3 => SWAPDB 3 3
            SWAPDB 0 16 =>
            DBSIZE =>
            "#,
        );
    }

    #[test]
    fn swapping() {
        check_script(
            r#"
            MSET a 1 b 2 => OK +2
            SWAPDB 0 1 => OK +1
            DBSIZE => :0
            SET a 3 EX 100 => OK +1
            SWAPDB 1 0 => OK +1
            GET a => "1"
            DBSIZE => :2
            SWAPDB 0 0 => OK +1
            DBSIZE => :2
            SWAPDB x 1 => -ERR invalid first DB index
            SWAPDB 1 x => -ERR invalid second DB index
            SWAPDB x x => -ERR invalid first DB index
            SWAPDB 16 0 => -ERR DB index is out of range
            SWAPDB 0 16 => -ERR DB index is out of range
            SWAPDB -1 0 => -ERR DB index is out of range
            SWAPDB 99999999999 1 => -ERR invalid first DB index
            SWAPDB 1 99999999999 => -ERR invalid second DB index
            SWAPDB 1 => -ERR wrong number of arguments for 'swapdb' command
            "#,
        );
        let mut bench = Bench::of_slots(5..10);
        bench.run(&["SWAPDB", "0", "1"]);
        assert_eq!(bench.changes(), 0, "only the part with hash slot 0 counts the change");
    }

    #[test]
    fn databases_are_separate() {
        let mut bench = Bench::new();
        bench.run(&["SET", "k", "v"]);
        bench.db = 5;
        bench.run(&["MSET", "k", "1", "m", "2"]);
        assert_eq!(show(&bench.run(&["DBSIZE"])), ":2");
        bench.run(&["FLUSHDB"]);
        assert_eq!(show(&bench.run(&["DBSIZE"])), ":0");
        assert_eq!(bench.changes(), 5);
        bench.db = 0;
        assert_eq!(show(&bench.run(&["GET", "k"])), "\"v\"");
        bench.db = 1;
        bench.run(&["FLUSHALL"]);
        bench.db = 0;
        assert_eq!(show(&bench.run(&["DBSIZE"])), ":0");
        assert_eq!(bench.changes(), 6);
    }

    #[test]
    fn flushing() {
        check_script(
            r#"
            DBSIZE => :0
            DBSIZE x => -ERR wrong number of arguments for 'dbsize' command
            FLUSHDB => OK
            SET a 1 => OK +1
            FLUSHDB => OK +1
            FLUSHDB => OK
            MSET a 1 b 2 => OK +2
            FLUSHDB ASYNC => OK +2
            MSET a 1 b 2 => OK +2
            FLUSHDB sync => OK +2
            MSET a 1 b 2 => OK +2
            FLUSHDB FOO => -ERR syntax error
            FLUSHDB ASYNC SYNC => -ERR syntax error
            FLUSHALL FOO => -ERR syntax error
            FLUSHALL ASYNC => OK +2
            FLUSHALL => OK
            FLUSHALL SYNC => OK
            FLUSHALL SYNC SYNC => -ERR syntax error
            DBSIZE => :0
            "#,
        );
    }
}
