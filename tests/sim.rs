//! The whole server on simulated kernels and clocks.
mod harness;

use annulet::mesh::Rules;
use harness::linear::{repeat, simulate};

#[test]
fn history() {
    for seed in 0..100 {
        let outcome = simulate(seed, Rules::default());
        if let Some(a) = outcome.anomaly {
            panic!("seed {seed}: {a}\n{}", repeat(seed));
        }
    }
}

#[test]
fn rules_off() {
    let n = std::env::var("SEEDS").map_or(50, |s| s.parse().unwrap());
    let on = Rules::default();
    for (name, rules) in [
        ("all", on),
        ("one_in_flight", Rules { one_in_flight: false, ..on }),
        ("sequencer", Rules { sequencer: false, ..on }),
        ("runnable", Rules { runnable_when_posted: false, ..on }),
        ("drain_first", Rules { drain_first: false, ..on }),
    ] {
        let (mut bad, mut steps, mut ops) = (0, 0, 0);
        let mut first = None;
        for seed in 0..n {
            let outcome = simulate(seed, rules);
            steps += outcome.steps;
            ops += outcome.ops;
            if outcome.anomaly.is_some() {
                bad += 1;
                first = first.or(outcome.anomaly);
            }
        }
        eprintln!("without {name}: {bad} of {n}, {steps} steps {ops} ops");
        if let Some(f) = first {
            eprintln!("{f}");
        }
    }
}
