//! Tests of the simulated network and its driver alone.

use super::*;
use crate::base::clock::{Clock, ManualClock};
use crate::io::{Chunk, Completion, Driver, Options, Socket, Wait};

/// Returns the completions of a run of two echoing drivers, as text.
fn trace(seed: u64) -> String {
    let network = Network::new(seed);
    let clock = ManualClock::new(0);
    let mut drivers: Vec<SimulatedDriver> =
        (0..2).map(|_| network.driver(Clock::Manual(clock.clone()), &Options::default())).collect();
    drivers[0].listen(1, network.bind(1)).unwrap();
    let clients: Vec<Client> = (0..4).map(|_| network.connect(1).unwrap()).collect();
    let (mut trace, mut next) = (String::new(), 0);
    clients.iter().for_each(|client| assert_eq!(client.write(&[b'a'; 1000]), 1000));
    let mut rounds = 0;
    while !network.is_idle() {
        rounds += 1;
        assert!(rounds < 10_000, "the network never becomes idle");
        for index in 0..2 {
            drivers[index].wait(Wait::AtMost(5_000_000)).unwrap();
            while let Some(completion) = drivers[index].next() {
                trace.push_str(&format!("{index}{completion:?};"));
                match completion {
                    Completion::Accepted(_, socket) => {
                        // The first driver accepts; either of them serves.
                        drivers[next % 2].open(next as u32, socket).unwrap();
                        next += 1;
                    }
                    Completion::Received { buffer, .. } => drivers[index].release(buffer),
                    _ => {}
                }
            }
        }
    }
    assert_eq!(next, 4);
    trace
}

#[test]
fn a_seed_repeats_and_another_differs() {
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn a_sleeper_says_when_it_wakes() {
    let network = Network::new(1);
    let clock = ManualClock::new(0);
    let mut driver = network.driver(Clock::Manual(clock.clone()), &Options::default());
    clock.advance_ms(3);
    assert!(!network.is_idle(), "the driver has not slept yet");
    driver.wait(Wait::Poll).unwrap();
    assert_eq!((network.is_idle(), network.wakes_at_ns()), (false, None));
    driver.wait(Wait::AtMost(2_000_000)).unwrap();
    assert_eq!((network.is_idle(), network.wakes_at_ns()), (true, Some(5_000_000)));
    driver.doorbell().ring();
    assert!(!network.is_idle());
    drop(driver);
    assert!(network.is_idle());
}

#[test]
fn a_stalled_send_sleeps_until_the_client_reads() {
    let network = Network::new(1);
    let clock = ManualClock::new(0);
    let mut driver = network.driver(Clock::Manual(clock), &Options::default());
    let (socket, client) = network.pair();
    driver.open(0, socket).unwrap();
    client.set_window(10);
    assert!(driver.send(0, Chunk::Own(vec![1; 15])).is_none(), "the window is too small");
    while !network.is_idle() {
        driver.wait(Wait::AtMost(1)).unwrap();
        assert!(driver.next().is_none());
    }
    assert_eq!(client.read().len(), 10);
    assert!(!network.is_idle());
    let mut sent = false;
    while !network.is_idle() {
        driver.wait(Wait::AtMost(1)).unwrap();
        sent |= matches!(driver.next(), Some(Completion::Sent(0, _, Ok(()))));
    }
    assert!(sent);
    assert_eq!(client.read().len(), 5);
}

#[test]
fn dropped_ends_are_closed() {
    let network = Network::new(1);
    let (socket, client) = network.pair();
    assert!(matches!(&socket, Socket::Simulated(end) if end.number() == 0));
    assert!(!client.is_closed());
    drop(socket);
    assert!(client.is_closed() && client.write(b"x") == 0);
    let port = network.bind(5);
    let waiting = network.connect(5).unwrap();
    drop(port);
    assert!(waiting.is_closed() && network.connect(5).is_none());
}

#[test]
fn a_driver_may_move_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let network = Network::new(1);
    is_send(&network.driver(Clock::System, &Options::default()));
}
