//! Everything at once: transactions, watches, deadlines that pass, databases that are swapped, keys
//! that are discovered, offloaded commands, few credits, clients that are killed, paused and slow,
//! and a replica. Clients must see one Redis, and the replica must have what they saw.

use super::histories::hunted;
use super::workloads::{PLAIN, check};
use crate::harness::linear::judge;
use crate::harness::search::Verdict;
use crate::harness::units::Kind::*;
use crate::harness::units::Mix;
use annulet::mesh::Rules;

/// The clock stands still, so that DBSIZE is exact.
static STANDING: Mix = Mix {
    name: "all at once",
    needs: &["sort", "multi", "exec", "watch", "swapdb", "copy", "psync", "debug"],
    kinds: &[
        Get, Mget, Mget, Exists, DbSize, DbSize, Set, SetNx, SetPx, Incr, GetDel, Mset, Mset, Mset,
        MsetNx, Del, Del, Rename, Rename, RenameNx, Copy, CopyDb, Pexpire, Persist, Select, SwapDb,
        BitCopy, BitCopy, BitCount, SetRange, Sort, SortStore, SortStore, Sorted, Get, Set, Mget,
        Mset, Copy, Rename, FlushDb, Ask, Ask,
    ],
    exec_once_in: 3,
    watch_percent: 40,
    cut_once_in: 100,
    has_admin: true,
    has_feed: true,
    ..PLAIN
};

/// The clock jumps, and deadlines pass.
static PASSING: Mix = Mix {
    name: "all at once, with deadlines",
    kinds: &[
        Get, Mget, Mget, Exists, Pttl, Set, SetNx, SetPx, SetPx, SetPx, Incr, GetDel, Mset, MsetNx,
        Del, Rename, Rename, RenameNx, Copy, CopyDb, Pexpire, Pexpire, Persist, Select, SwapDb,
        BitCopy, BitCount, SetRange, SetRange, Sort, SortStore, Sorted, Get, Mget, Ask, Ask,
    ],
    jump_once_in: 12,
    has_clocks: true,
    ..STANDING
};

/// Without the replica: the feed asserts the order of units.
static UNFOLLOWED: Mix = Mix { name: "all at once, unfollowed", has_feed: false, ..STANDING };

/// Scripts among the commands.
static SCRIPTED: Mix = Mix { name: "all at once, in scripts too", script_percent: 40, ..STANDING };

/// Scripts among the commands, while deadlines pass.
static SCRIPTED_PASSING: Mix =
    Mix { name: "all at once, with deadlines, in scripts too", script_percent: 40, ..PASSING };

/// Few kinds of commands, so that most units conflict.
static CONFLICTING: Mix = Mix {
    name: "killed and paused",
    needs: &["multi", "exec", "watch"],
    kinds: &[Get, Mget, Mget, Mget, Set, Mset, Mset, Incr, Del, Exists],
    exec_once_in: 3,
    watch_percent: 40,
    cut_once_in: 0,
    ..STANDING
};

/// Short and long pauses of all commands, while deadlines pass.
static PAUSED: Mix = Mix {
    name: "paused, with deadlines",
    needs: &["multi", "exec", "watch"],
    kinds: &[Get, Mget, Mget, Set, SetPx, SetPx, Mset, Incr, Pexpire, Pttl, Del, SetNx],
    cut_once_in: 0,
    ..PASSING
};

#[test]
fn all_at_once_has_an_order() {
    check(&STANDING);
}

#[test]
fn all_at_once_with_deadlines_has_an_order() {
    check(&PASSING);
}

#[test]
fn all_at_once_with_scripts_has_an_order() {
    check(&SCRIPTED);
}

#[test]
fn all_at_once_with_scripts_and_deadlines_has_an_order() {
    check(&SCRIPTED_PASSING);
}

#[test]
fn killed_and_paused_clients_see_an_order() {
    check(&CONFLICTING);
}

#[test]
fn paused_clients_see_an_order_of_deadlines() {
    check(&PAUSED);
}

/// Something is stuck, or the clients saw no order.
#[test]
fn without_the_sequencer_all_at_once_goes_wrong() {
    let rules = Rules { sequencer: false, ..Rules::default() };
    hunted("sequencer", |seed| {
        let run = std::panic::catch_unwind(|| judge(seed, rules, &UNFOLLOWED).verdict);
        let panic = match run {
            Ok(verdict) => return matches!(verdict, Verdict::Impossible(_)),
            Err(panic) => panic,
        };
        let text = panic.downcast_ref::<String>().expect("it says what is wrong");
        assert!(text.starts_with("stuck"), "{text}");
        true
    });
}

#[test]
fn without_one_in_flight_all_at_once_goes_wrong() {
    let rules = Rules { one_in_flight: false, ..Rules::default() };
    hunted("one_in_flight", |seed| {
        let run = std::panic::catch_unwind(|| judge(seed, rules, &STANDING).verdict);
        // A pause that is overtaken by its end leaves a connection postponed: the harness fails.
        run.map_or(true, |verdict| matches!(verdict, Verdict::Impossible(_)))
    });
}

#[test]
fn without_await_slice_all_at_once_goes_wrong() {
    let rules = Rules { await_slice: false, ..Rules::default() };
    hunted("await_slice", |seed| {
        let run = std::panic::catch_unwind(|| judge(seed, rules, &STANDING).verdict);
        // A cut can arrive where the slice is away: an assertion of the partition fails.
        run.map_or(true, |verdict| matches!(verdict, Verdict::Impossible(_)))
    });
}
