//! Mixes of commands that move keys, affect whole databases, run in transactions or set deadlines.
//! There must be an order in which a single Redis could have produced what the clients saw.
//!
//! A mix runs if the server knows its commands. `ANNULET_SIM_SEED=n` runs only that seed;
//! `ANNULET_SIM_SEEDS=n` runs the first n seeds.

use super::histories::{Borrowed, Repeat, hunted, seeds};
use crate::harness::linear::judge;
use crate::harness::plain_table;
use crate::harness::search::Verdict;
use crate::harness::units::Kind::{self, *};
use crate::harness::units::Mix;
use annulet::mesh::Rules;

const SEEDS: u64 = 100;

/// At most one history in this number, and one more, may have too many orders to try.
const UNDECIDED_ONCE_IN: usize = 50;

const MOVING: &[Kind] = &[
    Get, Get, Set, SetNx, Incr, GetDel, Mget, Mget, Mset, MsetNx, MsetNx, Del, Exists, Rename,
    Rename, Rename, RenameNx, Copy, Copy,
];
const CHANGING: &[Kind] = &[Get, Mget, Mget, Set, Mset, Incr, Del];

/// The base of the other mixes.
pub const PLAIN: Mix = Mix {
    name: "plain",
    needs: &[],
    kinds: &[Get, Set, SetNx, Incr, GetDel, Mget, Mget, Mset, Mset, Del, Exists],
    exec_once_in: 0,
    watch_percent: 0,
    jump_once_in: 0,
    has_clocks: false,
    cut_once_in: 0,
    has_admin: false,
    moves_slots: false,
    has_feed: false,
    script_percent: 0,
};

static OVER_BROKEN_CONNECTIONS: Mix = Mix { name: "plain, cut", cut_once_in: 40, ..PLAIN };

static FLUSHES: Mix = Mix {
    name: "flushes",
    kinds: &[Get, Mget, Mget, Set, Mset, Mset, Select, FlushDb, FlushAll, DbSize, DbSize, Exists],
    cut_once_in: 100,
    ..PLAIN
};

/// Deadlines of one key per command: exact to the millisecond, even if the clock jumps.
pub static DEADLINES: Mix = Mix {
    name: "deadlines",
    // The parts of a batch run on their shards at slightly different times.
    has_clocks: true,
    kinds: &[Get, Get, Get, SetPx, SetPx, SetNx, Pexpire, Pttl, Persist, Incr, Set, GetDel],
    jump_once_in: 12,
    ..PLAIN
};

/// Deadlines of several keys per command: each by the clock of its shard.
static DEADLINES_OF_SEVERAL: Mix = Mix {
    name: "deadlines of several keys",
    kinds: &[Get, Mget, Mget, Mget, Mset, SetPx, SetPx, SetPx, Pexpire, Pttl, Del, Exists],
    jump_once_in: 12,
    has_clocks: true,
    ..PLAIN
};

/// Keys that are renamed, copied, or written only if they do not exist.
pub static MOVES: Mix = Mix {
    name: "moves",
    needs: &["rename", "renamenx", "copy", "msetnx"],
    kinds: MOVING,
    cut_once_in: 150,
    ..PLAIN
};

/// The number of keys while they come, go and move on several shards.
static SURVEYS: Mix = Mix {
    name: "surveys",
    needs: &["rename", "renamenx", "copy", "msetnx"],
    kinds: &[
        DbSize, DbSize, DbSize, DbSize, Get, Exists, SetNx, Mset, Mset, MsetNx, Del, Del, GetDel,
        Rename, Rename, Rename, RenameNx, Copy,
    ],
    ..PLAIN
};

/// The number of keys while transactions change them in several rounds.
static SURVEYS_OF_TRANSACTIONS: Mix = Mix {
    name: "surveys of transactions",
    needs: &["multi", "exec", "discard", "rename", "renamenx", "copy", "msetnx"],
    exec_once_in: 3,
    ..SURVEYS
};

/// The number of keys while slices are handed over to units that discover keys.
static SURVEYS_OF_DISCOVERIES: Mix = Mix {
    name: "surveys of discoveries",
    needs: &["sort", "multi", "exec", "discard"],
    kinds: &[
        DbSize, DbSize, DbSize, DbSize, Get, Mget, Set, Mset, Mset, Del, Del, Exists, Sort,
        SortStore, SortStore, SortStore, Sorted,
    ],
    exec_once_in: 3,
    ..PLAIN
};

/// Transactions that ask all shards, also shards without their keys, beside units that take the
/// slices of all shards.
static REQUESTS: Mix = Mix {
    name: "requests of transactions",
    needs: &["sort", "multi", "exec", "discard", "debug"],
    kinds: &[Ask, Ask, Ask, Get, Set, Set, Sort, Sort, Sort],
    exec_once_in: 2,
    ..PLAIN
};

/// Two databases that are swapped, flushed and copied between.
pub static DATABASES: Mix = Mix {
    name: "databases",
    needs: &["swapdb", "copy"],
    kinds: &[
        Get, Mget, Mget, Set, Mset, Mset, Select, Select, SwapDb, SwapDb, FlushDb, FlushAll,
        DbSize, CopyDb, CopyDb,
    ],
    cut_once_in: 150,
    ..PLAIN
};

/// Transactions on several keys.
pub static TRANSACTIONS: Mix = Mix {
    name: "transactions",
    needs: &["multi", "exec", "discard"],
    kinds: CHANGING,
    exec_once_in: 2,
    ..PLAIN
};

/// Transactions, mostly with watched keys.
pub static WATCHES: Mix = Mix {
    name: "watches",
    needs: &["multi", "exec", "discard", "watch", "unwatch"],
    kinds: CHANGING,
    exec_once_in: 2,
    watch_percent: 90,
    ..PLAIN
};

static MOVES_IN_TRANSACTIONS: Mix = Mix {
    name: "moves in transactions",
    needs: &[
        "multi", "exec", "discard", "watch", "unwatch", "rename", "renamenx", "copy", "msetnx",
    ],
    kinds: MOVING,
    exec_once_in: 2,
    watch_percent: 30,
    ..PLAIN
};

static DATABASES_IN_TRANSACTIONS: Mix = Mix {
    name: "databases in transactions",
    needs: &["multi", "exec", "discard", "watch", "unwatch", "swapdb", "copy"],
    exec_once_in: 2,
    watch_percent: 50,
    ..DATABASES
};

static CUT_TRANSACTIONS: Mix = Mix {
    name: "cut transactions",
    needs: &["multi", "exec", "discard", "watch", "unwatch", "rename"],
    kinds: &[Get, Mget, Mget, Mget, Set, Mset, Incr, Del, Rename],
    exec_once_in: 2,
    watch_percent: 30,
    cut_once_in: 15,
    ..PLAIN
};

/// Commands that discover keys on all shards, beside others on the same keys.
pub static DISCOVERIES: Mix = Mix {
    name: "discoveries",
    needs: &["sort", "lrange"],
    kinds: &[
        Get, Mget, Mget, Set, Mset, Mset, Incr, GetDel, Del, Exists, Sort, Sort, SortStore,
        SortStore, Sorted, Sorted,
    ],
    cut_once_in: 100,
    ..PLAIN
};

static DISCOVERIES_IN_TRANSACTIONS: Mix = Mix {
    name: "discoveries in transactions",
    needs: &[
        "sort", "lrange", "multi", "exec", "discard", "watch", "unwatch", "rename", "copy",
        "msetnx",
    ],
    kinds: &[
        Get, Mget, Set, Mset, MsetNx, Incr, Del, Exists, Rename, Copy, Sort, SortStore, SortStore,
        Sorted,
    ],
    exec_once_in: 2,
    watch_percent: 50,
    ..DISCOVERIES
};

/// All kinds of commands. PTTL is left out, because the model is also compared with a server whose
/// clock does not stand still.
pub static EVERYTHING: Mix = Mix {
    name: "everything",
    needs: &[
        "multi", "exec", "discard", "watch", "unwatch", "rename", "renamenx", "copy", "msetnx",
        "swapdb",
    ],
    kinds: &[
        Get, Mget, Mget, Exists, DbSize, Set, SetNx, SetPx, Incr, GetDel, Mset, Mset, MsetNx, Del,
        Rename, Rename, RenameNx, Copy, CopyDb, Pexpire, Persist, Select, SwapDb, FlushDb,
        FlushAll, BitCopy, BitCount, SetRange,
    ],
    exec_once_in: 3,
    watch_percent: 60,
    cut_once_in: 60,
    ..PLAIN
};

/// Commands that scripts run, with and without declared keys, beside plain ones.
pub static SCRIPTS: Mix = Mix {
    name: "scripts",
    needs: &["eval", "rename", "copy", "msetnx"],
    kinds: &[
        Get, Mget, Mget, Set, Mset, MsetNx, Incr, GetDel, Del, Exists, Rename, Copy, DbSize,
        FlushDb,
    ],
    cut_once_in: 100,
    script_percent: 50,
    ..PLAIN
};

/// Nothing but scripts, with a replica that sees each as a unit.
static SCRIPTS_FOLLOWED: Mix = Mix {
    name: "scripts with a feed",
    needs: &["eval", "rename", "copy", "msetnx", "multi", "exec"],
    exec_once_in: 4,
    has_feed: true,
    cut_once_in: 0,
    script_percent: 100,
    ..SCRIPTS
};

static SCRIPTS_IN_TRANSACTIONS: Mix = Mix {
    name: "scripts in transactions",
    needs: &["eval", "multi", "exec", "discard", "watch", "unwatch", "rename", "copy", "msetnx"],
    exec_once_in: 2,
    watch_percent: 50,
    ..SCRIPTS
};

static DEADLINES_IN_TRANSACTIONS: Mix = Mix {
    name: "deadlines in transactions",
    needs: &["multi", "exec", "discard", "watch", "unwatch", "rename", "copy"],
    kinds: &[Get, Mget, Set, Mset, SetPx, SetPx, Pexpire, Pttl, Persist, Rename, Copy],
    exec_once_in: 3,
    watch_percent: 50,
    jump_once_in: 12,
    has_clocks: true,
    ..PLAIN
};

/// Whether the server knows all commands of the mix; prints which are missing.
fn is_known(mix: &Mix) -> bool {
    let is_missing = |name: &&&str| plain_table().find(name.as_bytes()).is_none();
    let missing: Vec<&&str> = mix.needs.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        println!("skipped {}: the server does not know {missing:?}", mix.name);
    }
    missing.is_empty()
}

/// Checks the seeds of a mix.
pub fn check(mix: &'static Mix) {
    if !is_known(mix) {
        return;
    }
    let mut borrowed = Borrowed::default();
    let (mut judged, mut undecided, mut marks) = (0, Vec::new(), 0);
    for seed in seeds(SEEDS) {
        judged += 1;
        let _repeat = Repeat(seed, "workloads");
        let found = judge(seed, Rules::default(), mix);
        borrowed.add(found.borrows);
        marks += found.marks;
        match found.verdict {
            Verdict::Possible => {}
            Verdict::Undecided => undecided.push(seed),
            Verdict::Impossible(why) => {
                panic!("seed {seed}, {}: no single Redis could have done this:\n{why}", mix.name)
            }
        }
    }
    // The search gives up on a few histories. They prove nothing, so there may be only a few.
    let undecided_max = judged / UNDECIDED_ONCE_IN + 1;
    assert!(
        undecided.len() <= undecided_max,
        "{}: too many orders to try with the seeds {undecided:?}",
        mix.name
    );
    borrowed.check(mix.name);
    println!("{}: undecided {undecided:?}, a replica was compared at {marks} marks", mix.name);
    assert!(!mix.has_feed || judged < 20 || marks > judged as u64, "a replica is compared");
}

/// Finds the first seed of a mix that has no order without a rule.
pub fn missed(name: &str, rules: Rules, mix: &'static Mix) {
    hunted(name, |seed| matches!(judge(seed, rules, mix).verdict, Verdict::Impossible(_)));
}

#[test]
fn plain_commands_over_broken_connections_have_an_order() {
    check(&OVER_BROKEN_CONNECTIONS);
}

#[test]
fn flushes_have_an_order() {
    check(&FLUSHES);
}

#[test]
fn deadlines_have_an_order() {
    check(&DEADLINES);
}

#[test]
fn deadlines_of_several_keys_have_an_order() {
    check(&DEADLINES_OF_SEVERAL);
}

#[test]
fn moves_have_an_order() {
    check(&MOVES);
}

#[test]
fn surveys_have_an_order() {
    check(&SURVEYS);
}

#[test]
fn surveys_of_transactions_have_an_order() {
    check(&SURVEYS_OF_TRANSACTIONS);
}

#[test]
fn surveys_of_discoveries_have_an_order() {
    check(&SURVEYS_OF_DISCOVERIES);
}

#[test]
fn requests_of_transactions_have_an_order() {
    check(&REQUESTS);
}

#[test]
fn databases_have_an_order() {
    check(&DATABASES);
}

#[test]
fn transactions_have_an_order() {
    check(&TRANSACTIONS);
}

#[test]
fn watches_have_an_order() {
    check(&WATCHES);
}

#[test]
fn moves_in_transactions_have_an_order() {
    check(&MOVES_IN_TRANSACTIONS);
}

#[test]
fn databases_in_transactions_have_an_order() {
    check(&DATABASES_IN_TRANSACTIONS);
}

#[test]
fn cut_transactions_have_an_order() {
    check(&CUT_TRANSACTIONS);
}

#[test]
fn deadlines_in_transactions_have_an_order() {
    check(&DEADLINES_IN_TRANSACTIONS);
}

#[test]
fn discoveries_have_an_order() {
    check(&DISCOVERIES);
}

#[test]
fn discoveries_in_transactions_have_an_order() {
    check(&DISCOVERIES_IN_TRANSACTIONS);
}

#[test]
fn scripts_have_an_order() {
    check(&SCRIPTS);
}

#[test]
fn scripts_with_a_feed_have_an_order() {
    check(&SCRIPTS_FOLLOWED);
}

#[test]
fn scripts_in_transactions_have_an_order() {
    check(&SCRIPTS_IN_TRANSACTIONS);
}

#[test]
fn everything_has_an_order() {
    check(&EVERYTHING);
}

/// The search finds the anomaly that the graph of `histories` finds, without a record of the
/// touches.
#[test]
fn without_the_sequencer_some_mix_has_no_order() {
    let rules = Rules { sequencer: false, ..Rules::default() };
    missed("sequencer", rules, &FLUSHES);
}

#[test]
fn without_one_in_flight_some_mix_has_no_order() {
    let rules = Rules { one_in_flight: false, ..Rules::default() };
    missed("one_in_flight", rules, &FLUSHES);
}

#[test]
fn without_lock_sets_some_mix_has_no_order() {
    let rules = Rules { lock_sets: false, ..Rules::default() };
    let is_seen =
        |seed| matches!(judge(seed, rules, &TRANSACTIONS).verdict, Verdict::Impossible(_));
    hunted("lock_sets", is_seen);
}

#[test]
fn without_await_slice_some_mix_has_no_order() {
    let rules = Rules { await_slice: false, ..Rules::default() };
    missed("await_slice", rules, &DISCOVERIES);
}
