//! Tests of the geo commands.

use crate::commands::testing::{Bench, check_feed, check_script, show};
use crate::resp::{Protocol, Value};

/// The expected replies are from Valkey 9.1.
#[test]
fn places() {
    check_script(include_str!("places.txt"));
}

#[test]
fn searches() {
    check_script(include_str!("searches.txt"));
}

#[test]
fn coordinates_are_doubles() {
    let mut bench = Bench::new();
    bench.protocol = Protocol::Three;
    bench.run(&["GEOADD", "k", "13.361389", "38.115556", "Palermo"]);
    let places = bench.run_bytes(&["GEOPOS", "k", "Palermo", "none"]);
    let expected = b"*2\r\n*2\r\n,13.36138933897018433\r\n,38.11555639549629859\r\n_\r\n";
    assert_eq!(places, expected);
    let distance = bench.run_bytes(&["GEODIST", "k", "Palermo", "Palermo"]);
    assert_eq!(distance, b"$6\r\n0.0000\r\n");
    assert_eq!(bench.run_bytes(&["GEODIST", "k", "Palermo", "none"]), b"_\r\n");
    assert_eq!(bench.run_bytes(&["GEOHASH", "k", "none"]), b"*1\r\n_\r\n");
}

#[test]
fn propagated_commands() {
    check_feed(
        r#"
        GEOADD k 13.361389 38.115556 P => ZADD k 3479099956230698 P
        GEOADD k 13.361389 38.115556 P =>
        geoadd k nx ch 1 1 R 2 2 Q => ZADD k nx ch 3377822707026402 R 3378191666521995 Q
        GEOADD k XX 2 3 none =>
        GEORADIUS k 15 37 300 km =>
        GEORADIUS k 15 37 300 km STORE d => GEORADIUS k 15 37 300 km STORE d
        GEORADIUSBYMEMBER k P 1 m STOREDIST d => GEORADIUSBYMEMBER k P 1 m STOREDIST d
        GEOSEARCHSTORE d k FROMMEMBER P BYBOX 1 1 m => GEOSEARCHSTORE d k FROMMEMBER P BYBOX 1 1 m
        GEOSEARCHSTORE d k FROMLONLAT 80 80 BYBOX 1 1 m => GEOSEARCHSTORE d k FROMLONLAT 80 80 \
            BYBOX 1 1 m
        GEOSEARCHSTORE d k FROMLONLAT 80 80 BYBOX 1 1 m =>
        "#
        .replace("\\\n            ", "")
        .as_str(),
    );
}

#[test]
fn the_nearest_members_are_found_among_many() {
    let mut bench = Bench::new();
    for number in 0..300 {
        let longitude = format!("{}", f64::from(number) / 10.0);
        bench.run(&["GEOADD", "k", &longitude, "0", &number.to_string()]);
    }
    let args = ["GEOSEARCH", "k", "FROMLONLAT", "0", "0", "BYRADIUS", "9000", "km", "COUNT", "50"];
    let Value::Array(found) = bench.run(&args) else { panic!("not an array") };
    let expected: Vec<_> = (0..50).map(|number| format!("\"{number}\"")).collect();
    assert_eq!(found.iter().map(show).collect::<Vec<_>>(), expected);
    let all = bench.run(&args[..8]);
    assert!(matches!(all, Value::Array(found) if found.len() == 300));
    let any = bench.run(&[&args[..], &["ANY"]].concat());
    assert!(matches!(any, Value::Array(found) if found.len() == 50));
    bench.slice.check();
}
