//! A file that is saved while keys change has a state that the server has had: the keys that change
//! together in [`Keys`] never differ, and neither do a large set and the count of its members.

use super::cross_shard::Keys;
use super::primary::is_rehearsal;
use super::server::{Server, Setup};
use super::support::{Info, connect, demand};
use super::wire::Wire;
use annulet::rdb::{Decoder, Dialect, Form, Part};
use annulet::snapshot::{FileReader, Trust};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Saves while the keys change, per number of shards.
const SAVES: usize = 8;

/// Members of the large set at the start: more than a cut saves at once.
const MEMBERS: u64 = 20_000;

/// Database and name -> text, or number of elements.
type State = HashMap<(u64, String), String>;

/// Reads the strings and sets of a file.
fn read(path: &Path) -> State {
    let file = std::fs::File::open(path).expect("a file was saved");
    let trust = Trust { any_version: false, has_checksum: true };
    let mut reader = FileReader::open(file, trust).expect("a file");
    let (mut state, mut db) = (State::new(), 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    loop {
        let more = reader.next(|part| {
            match part {
                Part::Database(number) => db = *number,
                Part::Entry(entry) => {
                    let key = text(&entry.key.clone().into_bytes());
                    let mut value = Decoder::new(entry.value, Dialect::Common);
                    let value = match entry.form {
                        Form::String => text(&value.text().expect("text").into_bytes()),
                        _ => value.length().expect("a length").to_string(),
                    };
                    assert_eq!(state.insert((db, key), value), None, "a key is saved once");
                }
                _ => {}
            }
            Ok(())
        });
        if more.expect("a whole file").is_none() {
            return state;
        }
    }
}

/// Adds members to the set and counts them, until `is_over`.
fn grow(port: u16, is_over: &AtomicBool) {
    let mut wire = connect(port);
    let mut member = MEMBERS;
    while !is_over.load(Ordering::Relaxed) {
        let name = member.to_string();
        let commands: [&[&str]; 4] =
            [&["MULTI"], &["SADD", "large", &name], &["INCR", "members"], &["EXEC"]];
        let replies = wire.ask_all(&commands);
        assert_eq!(replies[3], format!("*2\r\n:1\r\n:{}\r\n", member + 1).into_bytes());
        member += 1;
    }
}

fn prepare(wire: &mut Wire, keys: &Keys) {
    keys.prepare(wire);
    demand(wire, &["DEBUG", "POPULATE", "30000", "pad", "100"]);
    for first in (0..MEMBERS).step_by(1_000) {
        let members: Vec<String> = (first..first + 1_000).map(|at| at.to_string()).collect();
        let mut args = vec!["SADD", "large"];
        args.extend(members.iter().map(String::as_str));
        wire.ask(&args);
    }
    demand(wire, &["SET", "members", &MEMBERS.to_string()]);
}

/// Saves the keys, and returns the state in the file.
fn save(wire: &mut Wire, server: &Server, at: usize) -> State {
    match at % 2 {
        0 => demand(wire, &["SAVE"]),
        _ => {
            assert_eq!(wire.ask(&["BGSAVE"]), b"+Background saving started\r\n");
            while Info::of(wire, "persistence").number("rdb_bgsave_in_progress") != 0 {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    read(&server.folder.join("dump.rdb"))
}

#[test]
fn saved_files_have_a_state_of_the_server() {
    if is_rehearsal() {
        return;
    }
    for shards in super::shards() {
        let setup = Setup { shards, driver: "auto" };
        let server = Server::start(setup, &["--enable-debug-command", "yes"]);
        let keys = Keys::new();
        let mut wire = connect(server.port);
        prepare(&mut wire, &keys);
        let is_over = AtomicBool::new(false);
        let states: Vec<State> = thread::scope(|scope| {
            let movers = scope.spawn(|| keys.move_until(server.port, &is_over));
            let grower = scope.spawn(|| grow(server.port, &is_over));
            let states = (0..SAVES).map(|at| save(&mut wire, &server, at)).collect();
            is_over.store(true, Ordering::Relaxed);
            grower.join().expect("the set grows");
            println!("{} moves with {shards} shards", movers.join().expect("the movers"));
            states
        });
        let mut distinct = HashSet::new();
        for state in &states {
            keys.check(&|db, key| state.get(&(db, key.to_string())).cloned());
            let text = |key: &str| &state[&(0, key.to_string())];
            assert_eq!(text("large"), text("members"), "{shards} shards");
            assert_eq!(state.keys().filter(|(_, key)| key.starts_with("pad")).count(), 30_000);
            distinct.insert(text("members"));
        }
        assert!(distinct.len() > SAVES / 2, "the keys have changed between the saves");
    }
}
