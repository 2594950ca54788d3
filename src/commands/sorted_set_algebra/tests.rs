//! Tests of sorted set algebra.

use crate::base::rng::Rng;
use crate::commands::testing::{Bench, check_feed, check_script, show};
use crate::resp::Protocol;
use std::collections::BTreeMap;

/// The replies were taken from Valkey 9.1.
#[test]
fn replies() {
    check_script(include_str!("cases.txt"));
}

#[test]
fn resp3_pairs_with_double_scores() {
    let mut bench = Bench::new();
    bench.protocol = Protocol::Three;
    bench.run(&["ZADD", "a", "1.5", "x", "2", "y"]);
    let reply = bench.run_bytes(&["ZUNION", "2", "a", "a", "WITHSCORES"]);
    assert_eq!(reply, b"*2\r\n*2\r\n$1\r\nx\r\n,3\r\n*2\r\n$1\r\ny\r\n,4\r\n");
    assert_eq!(bench.run_bytes(&["ZDIFF", "1", "a"]), b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n");
}

#[test]
fn propagation() {
    check_feed(
        r#"
        ZADD a 1 x 2 y => ZADD a 1 x 2 y
        ZUNION 1 a =>
        ZUNIONSTORE d 2 a b => ZUNIONSTORE d 2 a b
        ZINTERSTORE d 2 a b WEIGHTS 1 2 => ZINTERSTORE d 2 a b WEIGHTS 1 2
        ZINTERSTORE d 2 a b =>
        zdiffstore d 1 a => zdiffstore d 1 a
        ZINTERCARD 2 a d =>
        "#,
    );
}

#[test]
fn results_are_compact_up_to_the_limits() {
    let mut bench = Bench::new();
    bench.config.zset_max_listpack_entries = 3;
    bench.config.zset_max_listpack_value = 4;
    let mut encoding = |sources: &[&str]| {
        bench.run(&[&["ZADD", "a"], sources].concat());
        bench.run(&["ZUNIONSTORE", "d", "1", "a"]);
        bench.run(&["DEL", "a"]);
        show(&bench.run(&["OBJECT", "ENCODING", "d"]))
    };
    assert_eq!(encoding(&["1", "x", "2", "y", "3", "four"]), "\"listpack\"");
    assert_eq!(encoding(&["1", "x", "2", "y", "3", "z", "4", "w"]), "\"skiplist\"");
    assert_eq!(encoding(&["1", "longer"]), "\"skiplist\"");
}

/// Compares combinations of random sets with a model of maps.
#[test]
fn combinations_match_a_model_of_maps() {
    let mut rng = Rng::new(4);
    for round in 0..60 {
        let mut bench = Bench::new();
        let mut maps: Vec<BTreeMap<String, i64>> = Vec::new();
        for key in ["a", "b", "c"] {
            let members = [4, 40, 400][round % 3];
            let count = rng.below(members);
            let map: BTreeMap<String, i64> = (0..count)
                .map(|_| (format!("m{}", rng.below(members)), rng.below(9) as i64 + 1))
                .collect();
            for (member, score) in &map {
                bench.run(&["ZADD", key, &score.to_string(), member]);
            }
            maps.push(map);
        }
        let weights = [1, 2, -3];
        let names = maps.iter().flat_map(|map| map.keys());
        let sums: BTreeMap<&String, (i64, usize)> = names
            .map(|name| {
                let found = maps
                    .iter()
                    .zip(weights)
                    .filter_map(|(map, weight)| map.get(name).map(|score| score * weight));
                (name, (found.clone().sum(), found.count()))
            })
            .collect();
        let shown = |least: usize| {
            let mut all: Vec<(i64, &String)> = sums
                .iter()
                .filter(|(_, (_, count))| *count >= least)
                .map(|(name, (sum, _))| (*sum, *name))
                .collect();
            all.sort();
            let pairs = all.iter().map(|(sum, name)| format!("\"{name}\" \"{sum}\""));
            format!("[{}]", pairs.collect::<Vec<_>>().join(" "))
        };
        let args = ["3", "a", "b", "c", "WITHSCORES", "WEIGHTS", "1", "2", "-3"];
        for (name, least) in [("ZUNION", 1), ("ZINTER", 3)] {
            assert_eq!(show(&bench.run(&[&[name], &args[..]].concat())), shown(least));
        }
        let common = sums.values().filter(|(_, count)| *count == 3).count();
        let counted = show(&bench.run(&["ZINTERCARD", "3", "a", "b", "c"]));
        assert_eq!(counted, format!(":{common}"));
        let is_left = |name: &&String| !maps[1].contains_key(*name) && !maps[2].contains_key(*name);
        let left = maps[0].keys().filter(is_left).count();
        let stored = show(&bench.run(&["ZDIFFSTORE", "d", "3", "a", "b", "c"]));
        assert_eq!(stored, format!(":{left}"));
        bench.slice.check();
    }
}
