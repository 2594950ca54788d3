//! What every driver must do.

use super::support::{LISTENER, Peer, pattern, with_each};
use crate::io::*;

fn own(bytes: &[u8]) -> Chunk {
    Chunk::Own(bytes.to_vec())
}

#[test]
fn accepts_and_echoes() {
    with_each(Options::default(), |mut server| {
        let mut clients: Vec<(Peer, ConnId)> = (0..3).map(|_| server.accept()).collect();
        for round in 0..20 {
            for (number, (peer, _)) in clients.iter_mut().enumerate() {
                let text = format!("hello {number} {round}");
                assert_eq!(peer.write(text.as_bytes()), text.len());
            }
            for (number, (peer, conn)) in clients.iter_mut().enumerate() {
                let text = format!("hello {number} {round}");
                server.until("input", |server| server.seen(*conn).input == text.as_bytes());
                server.seen(*conn).input.clear();
                server.send(*conn, own(text.as_bytes()));
                let mut read = Vec::new();
                server.until("the echo", |server| {
                    read.extend(peer.read(100));
                    read.len() == text.len() && server.seen(*conn).sent.len() == round + 1
                });
                assert_eq!(read, text.as_bytes());
            }
        }
        assert!(server.seen.values().all(|seen| seen.sent.iter().all(Result::is_ok)));
        assert!(server.driver.statistics().waits > 0);
    });
}

#[test]
fn moves_much_both_ways() {
    const LEN: usize = 3_000_000;
    with_each(Options::default(), |mut server| {
        let (mut peer, conn) = server.accept();
        let (to_server, to_client) = (pattern(1, LEN), pattern(2, LEN));
        let (mut written, mut read) = (0, Vec::new());
        server.send(conn, Chunk::Own(to_client.clone()));
        let mut shared = false;
        server.until("the transfer", |server| {
            written += peer.write(&to_server[written..]);
            read.extend(peer.read(1 << 20));
            if server.seen(conn).sent.len() == 1 && !shared {
                shared = true;
                server.send(conn, Chunk::Shared(to_client.clone().into()));
            }
            let seen = server.seen(conn);
            seen.input.len() == LEN && read.len() == 2 * LEN && seen.sent.len() == 2
        });
        assert!(server.seen(conn).input == to_server);
        assert!(read[..LEN] == to_client && read[LEN..] == to_client);
        assert!(server.seen(conn).sent.iter().all(Result::is_ok));
    });
}

#[test]
fn a_hangup_comes_after_the_bytes_and_sends_still_work() {
    with_each(Options::default(), |mut server| {
        let (mut peer, conn) = server.accept();
        peer.write(b"last words");
        peer.finish();
        server.until("the hangup", |server| server.seen(conn).hangup.is_some());
        assert_eq!(server.seen(conn).input, b"last words");
        assert!(server.seen(conn).hangup.as_ref().unwrap().is_none());
        server.send(conn, own(b"farewell"));
        server.until("the send", |server| server.seen(conn).sent.len() == 1);
        server.driver.receive(conn, false);
        server.driver.receive(conn, true);
        server.driver.close(conn);
        server.until("closing", |server| server.seen(conn).closed);
        let mut read = Vec::new();
        server.until("the end", |_| {
            read.extend(peer.read(100));
            peer.is_closed()
        });
        assert_eq!(read, b"farewell");
    });
}

#[test]
fn sending_to_a_closed_peer_fails_eventually() {
    with_each(Options::default(), |mut server| {
        let (peer, conn) = server.accept();
        peer.close();
        server.until("the hangup", |server| server.seen(conn).hangup.is_some());
        let mut asked = 0;
        server.until("an error", |server| {
            let sent = &server.seen(conn).sent;
            if sent.last().is_some_and(Result::is_err) {
                return true;
            }
            if sent.len() == asked {
                asked += 1;
                server.send(conn, own(b"is anybody there?"));
            }
            false
        });
        server.driver.close(conn);
        server.until("closing", |server| server.seen(conn).closed);
    });
}

#[test]
fn closing_cancels_a_stalled_send() {
    with_each(Options::default(), |mut server| {
        for shared in [false, true] {
            let (mut peer, conn) = server.accept();
            peer.write(b"never read");
            let bytes = vec![3; 16 << 20];
            let chunk = if shared { Chunk::Shared(bytes.into()) } else { Chunk::Own(bytes) };
            server.send(conn, chunk);
            server.until_quiet();
            assert!(server.seen(conn).sent.is_empty());
            server.driver.close(conn);
            // In a zero-copy send the kernel holds the memory until the peer has read it or left.
            server.until("the failure", |server| {
                peer.read(1 << 20);
                server.seen(conn).sent.len() == 1
            });
            assert!(server.seen(conn).sent[0].is_err());
            server.until("closing", |server| server.seen(conn).closed);
        }
    });
}

#[test]
fn replies_sent_before_closing_arrive_despite_unread_input() {
    with_each(Options::default(), |mut server| {
        let (mut peer, conn) = server.accept();
        server.driver.receive(conn, false);
        server.until_quiet();
        assert_eq!(peer.write(&[b'x'; 50_000]), 50_000);
        server.until_quiet();
        server.send(conn, own(&pattern(4, 10_000)));
        server.driver.close(conn);
        server.until("closing", |server| server.seen(conn).closed);
        assert!(server.seen(conn).sent[0].is_ok());
        let mut read = Vec::new();
        server.until("the end", |_| {
            read.extend(peer.read(3_000));
            peer.is_closed()
        });
        assert!(!peer.is_broken(), "{}: a reset", server.name);
        assert_eq!(read, pattern(4, 10_000));
    });
}

#[test]
fn pausing_stops_receiving_and_resuming_continues() {
    with_each(Options::default(), |mut server| {
        let (mut peer, conn) = server.accept();
        let bytes = pattern(5, 100_000);
        assert_eq!(peer.write(&bytes[..10]), 10);
        server.until("the first bytes", |server| server.seen(conn).input.len() == 10);
        server.driver.receive(conn, false);
        server.until_quiet();
        assert_eq!(peer.write(&bytes[10..90_000]), 89_990);
        server.until_quiet();
        assert_eq!(server.seen(conn).input.len(), 10, "{}", server.name);
        server.driver.receive(conn, true);
        server.until("the rest", |server| server.seen(conn).input.len() == 90_000);
        for step in 0..100 {
            server.driver.receive(conn, false);
            if step % 3 == 0 {
                server.turn(Wait::Poll);
            }
            assert_eq!(peer.write(&bytes[90_000 + step * 100..][..100]), 100);
            server.driver.receive(conn, true);
            if step % 5 == 0 {
                server.turn(Wait::Poll);
            }
        }
        server.until("all", |server| server.seen(conn).input.len() == 100_000);
        assert!(server.seen(conn).input == bytes);
    });
}

#[test]
fn a_connection_can_be_closed_while_paused() {
    with_each(Options::default(), |mut server| {
        let (_peer, first) = server.accept();
        server.driver.receive(first, false);
        server.driver.close(first);
        let (_other, second) = server.accept();
        server.driver.receive(second, false);
        server.until_quiet();
        server.driver.close(second);
        server.until("closing", |server| {
            // The second connection may have taken the number of the first.
            server.seen.values().all(|seen| seen.closed)
        });
    });
}

#[test]
fn a_slow_reader_does_not_delay_others() {
    const LEN: usize = 6_000_000;
    with_each(Options::default(), |mut server| {
        let (mut slow, slow_conn) = server.accept();
        let (mut quick, quick_conn) = server.accept();
        let bytes = pattern(6, LEN);
        server.send(slow_conn, Chunk::Own(bytes.clone()));
        let mut read = Vec::new();
        for round in 0..100 {
            quick.write(b"ping");
            server.until("a ping", |server| server.seen(quick_conn).input.len() >= 4);
            server.seen(quick_conn).input.clear();
            server.send(quick_conn, own(b"pong"));
            let mut pong = Vec::new();
            server.until("a pong", |server| {
                pong.extend(quick.read(10));
                pong.len() == 4 && server.seen(quick_conn).sent.len() == round + 1
            });
            read.extend(slow.read(1_000));
        }
        server.until("the slow one", |server| {
            read.extend(slow.read(1 << 20));
            read.len() == LEN && server.seen(slow_conn).sent.len() == 1
        });
        assert!(read == bytes);
    });
}

#[test]
fn opens_and_closes_thousands() {
    const ROUNDS: usize = 40;
    const CLIENTS: usize = 50;
    with_each(Options { entries: 64, ..Options::default() }, |mut server| {
        for round in 0..ROUNDS {
            let mut peers: Vec<Peer> = (0..CLIENTS).map(|_| server.connect()).collect();
            peers.iter_mut().for_each(|peer| assert_eq!(peer.write(b"hello"), 5));
            server.until("accepting", |server| server.accepted.len() == CLIENTS);
            let conns = std::mem::take(&mut server.accepted);
            assert!(conns.iter().all(|conn| *conn as usize <= CLIENTS), "numbers are reused");
            match round % 4 {
                0 => server.until("all input", |server| {
                    conns.iter().all(|conn| server.seen[conn].input == b"hello")
                }),
                1 => peers.drain(..CLIENTS / 2).for_each(Peer::close),
                2 => conns.iter().for_each(|conn| server.send(*conn, own(b"goodbye"))),
                _ => {}
            }
            conns.iter().for_each(|conn| server.driver.close(*conn));
            server.until("closing", |server| conns.iter().all(|conn| server.seen[conn].closed));
            for mut peer in peers {
                let mut read = Vec::new();
                server.until("the end", |_| {
                    read.extend(peer.read(100));
                    peer.is_closed()
                });
                assert!(!peer.is_broken() && (round % 4 != 2 || read == b"goodbye"));
            }
        }
    });
}

#[test]
fn the_doorbell_wakes_from_another_thread() {
    with_each(Options::default(), |mut server| {
        let simulated = server.driver.name() == "simulated";
        server.until_quiet();
        for round in 1..=20 {
            let bell = server.driver.doorbell();
            server.rung = 0;
            let thread = std::thread::spawn(move || (0..round).for_each(|_| bell.ring()));
            if simulated {
                thread.join().unwrap();
                server.until("the ring", |server| server.rung > 0);
                continue;
            }
            // Far longer than the test may take: only the bell can end this wait.
            while server.rung == 0 {
                assert!(server.turn(Wait::AtMost(60_000_000_000)) > 0, "{}", server.name);
            }
            thread.join().unwrap();
            server.until_quiet();
            assert!(server.rung <= round + 1);
        }
    });
}

#[test]
fn input_of_many_clients_is_received_with_few_buffers() {
    const CLIENTS: usize = 40;
    const LEN: usize = 40_000;
    let patterns: Vec<Vec<u8>> = (0..CLIENTS).map(|number| pattern(number, LEN)).collect();
    let options = Options { buffers: 4, buffer_bytes: 1024, ..Options::default() };
    with_each(options, |mut server| {
        server.holds_buffers = true;
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| (server.accept(), 0)).collect();
        server.until("the flood", |server| {
            for (number, ((peer, _), written)) in clients.iter_mut().enumerate() {
                *written += peer.write(&patterns[number][*written..]);
            }
            clients.iter().all(|((_, conn), _)| server.seen(*conn).input.len() == LEN)
        });
        for (number, ((_, conn), _)) in clients.iter().enumerate() {
            assert!(server.seen(*conn).input == patterns[number]);
        }
        assert!(server.driver.statistics().buffers_exhausted > 0, "{}", server.name);
    });
}

#[test]
fn a_small_submission_queue_loses_nothing() {
    const CLIENTS: usize = 100;
    with_each(Options { entries: 2, ..Options::default() }, |mut server| {
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.accept()).collect();
        for round in 1..=5 {
            for (_, conn) in &clients {
                server.send(*conn, own(&pattern(round, 500)));
                server.driver.receive(*conn, false);
                server.driver.receive(*conn, true);
            }
            for (peer, conn) in &mut clients {
                let mut read = Vec::new();
                server.until("all", |server| {
                    read.extend(peer.read(1_000));
                    read.len() == 500 && server.seen(*conn).sent.len() == round
                });
                assert_eq!(peer.write(b"!"), 1);
                server.until("an echo", |server| server.seen(*conn).input.len() == round);
            }
        }
        if server.driver.name() == "io_uring" {
            assert!(server.driver.statistics().queue_full > 0);
        }
    });
}

#[test]
fn an_address_is_free_after_unlisten() {
    with_each(Options::default(), |mut server| {
        let (mut peer, conn) = server.accept();
        for _ in 0..3 {
            server.driver.unlisten(LISTENER);
            let socket = server.bind();
            server.driver.listen(LISTENER, socket).unwrap();
            let (mut other, other_conn) = server.accept();
            other.write(b"new");
            server.until("the new one", |server| server.seen(other_conn).input == b"new");
        }
        peer.write(b"old");
        server.until("the old one", |server| server.seen(conn).input == b"old");
    });
}

#[test]
fn a_wait_returns_at_once_with_completions_of_earlier_calls() {
    /// Far longer than the test may take.
    const LONG: Wait = Wait::AtMost(60_000_000_000);
    with_each(Options::default(), |mut server| {
        let (_peer, conn) = server.accept();
        server.until_quiet();
        server.send(conn, own(b"reply"));
        while server.seen(conn).sent.is_empty() {
            server.turn(LONG);
        }
        server.driver.close(conn);
        while !server.seen(conn).closed {
            server.turn(LONG);
        }
    });
}

#[test]
fn a_dropped_driver_closes_its_connections() {
    with_each(Options::default(), |mut server| {
        let (mut idle, _) = server.accept();
        let (mut stuck, stuck_conn) = server.accept();
        server.send(stuck_conn, Chunk::Own(vec![8; 16 << 20]));
        server.until_quiet();
        let name = server.name.clone();
        drop(server);
        for peer in [&mut idle, &mut stuck] {
            let end = (0..2_000).any(|_| {
                peer.read(1 << 20);
                peer.is_closed() || {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    false
                }
            });
            assert!(end, "{name}: the peer sees no end");
        }
    });
}

/// A peer that does not read and does not leave keeps no entry of the table.
#[test]
fn a_closed_connection_is_gone_while_its_peer_lives() {
    for zero_copy_own_bytes_min in [1_000, usize::MAX] {
        let options = Options { zero_copy_own_bytes_min, ..Options::default() };
        with_each(options, |mut server| {
            for len in [256 << 10, 1 << 20, 2 << 20, 3 << 20, 16 << 20] {
                let (peer, conn) = server.accept();
                server.driver.send(conn, Chunk::Own(vec![8; len]));
                server.until_quiet();
                server.driver.close(conn);
                server.until("the end", |server| server.seen(conn).closed);
                drop(peer);
            }
        });
    }
}

#[test]
fn zero_copy_sends_arrive_whole() {
    let options = Options {
        zero_copy_own_bytes_min: 3_000,
        zero_copy_shared_bytes_min: 1_000,
        ..Options::default()
    };
    with_each(options, |mut server| {
        let (mut peer, conn) = server.accept();
        for round in 1..=20 {
            let bytes = pattern(round, round * 5_000);
            let chunk = if round % 2 == 0 {
                Chunk::Own(bytes.clone())
            } else {
                Chunk::Shared(bytes.clone().into())
            };
            server.send(conn, chunk);
            let mut read = Vec::new();
            server.until("the bytes", |server| {
                read.extend(peer.read(1 << 20));
                read.len() == bytes.len() && server.seen(conn).sent.len() == round
            });
            assert!(read == bytes);
        }
        if server.name.starts_with("io_uring unix=false") {
            // Loopback copies the bytes anyway, so the driver stops trying after one send.
            assert_eq!(server.driver.statistics().zero_copy_sends, 1);
        }
    });
}
