//! Compares the model with Valkey, command by command, over connections that take turns.
//!
//! `ANNULET_PEER` names the program; without it nothing is compared.

use super::workloads::EVERYTHING;
use crate::harness::encode;
use crate::harness::model::{Action, Model, State};
use crate::harness::units::{Draw, Step};
use annulet::base::rng::Rng;
use annulet::resp::Value;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SESSIONS: usize = 4;
const STEPS: usize = 40_000;
const SEEDS: u64 = 5;
/// Times to live are multiples of this many milliseconds, so that no key expires.
const FAR_MS: u64 = 100_000_000;

/// A server process, killed on drop.
struct Peer(Child, u16);

impl Peer {
    fn start(program: &str) -> Peer {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("the socket is bound").port();
        drop(free);
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .stdout(Stdio::null())
            .spawn()
            .expect("ANNULET_PEER names a program");
        Peer(child, port)
    }

    fn connect(&self) -> TcpStream {
        for _ in 0..100 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.1)) {
                return stream;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the peer does not listen");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail if the process has ended, which is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(stream: &mut TcpStream, args: &[String]) -> Value {
    stream.write_all(&encode(args)).expect("the peer takes the command");
    let mut received = Vec::new();
    loop {
        if let Some((value, _)) = Value::read(&received) {
            return value;
        }
        let mut piece = [0; 4096];
        let len = stream.read(&mut piece).expect("the peer answers");
        assert!(len > 0, "the peer has ended the connection");
        received.extend_from_slice(&piece[..len]);
    }
}

/// Runs random units over all connections in turns; returns the number of compared actions.
fn compare(peer: &Peer, seed: u64) -> usize {
    let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_string).to_vec();
    let model = Model { names: names.clone(), clocks: vec![0; names.len()], has_order: false };
    let mut draw = Draw::new(Rng::new(seed), &EVERYTHING, names);
    draw.ms_scale = FAR_MS;
    let mut streams: Vec<TcpStream> = (0..SESSIONS).map(|_| peer.connect()).collect();
    ask(&mut streams[0], &["FLUSHALL".to_string()]);
    let mut plans: Vec<VecDeque<Step>> = (0..SESSIONS).map(|_| VecDeque::new()).collect();
    let mut state = model.start(SESSIONS, 0);
    let mut compared = 0;
    for _ in 0..STEPS {
        let at = draw.rng.below(SESSIONS as u64) as usize;
        if plans[at].is_empty() {
            plans[at].extend(draw.unit());
        }
        let step = plans[at].pop_front().expect("a unit has steps");
        let reply = ask(&mut streams[at], &step.args);
        let due = match &step.action {
            None => step.due.expect("a step without an action has a known reply"),
            Some(action) => {
                compared += 1;
                act(&model, &mut state, at, action)
            }
        };
        assert_eq!(reply, due, "seed {seed}: {:?} as {:?}", step.args, step.action);
    }
    compared
}

fn act(model: &Model, state: &mut State, session: usize, action: &Action) -> Value {
    let mut outcomes = model.outcomes(state, session, action);
    let (reply, after) = outcomes.pop().expect("every action has an outcome");
    assert!(outcomes.is_empty(), "there is one clock");
    *state = after;
    reply
}

#[test]
fn the_model_replies_like_valkey() {
    let Ok(program) = std::env::var("ANNULET_PEER") else {
        println!("skipped: ANNULET_PEER is not set");
        return;
    };
    let peer = Peer::start(&program);
    for seed in 0..SEEDS {
        let compared = compare(&peer, seed);
        assert!(compared > STEPS / 4, "most steps have an effect");
    }
}
