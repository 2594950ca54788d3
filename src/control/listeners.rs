//! The TCP sockets that the process listens on, and how they change at run time.
//!
//! The accepting shard owns the sockets. This book keeps a second handle of each. So a changed
//! setting can open its new sockets, even beside old ones on the same port, and knows at once
//! whether that worked.
//!
//! ```text
//!   change() --opens new sockets--> Change --commit()--> orders --take_orders()--> the acceptor
//!                                     '-- dropped: nothing has happened
//! ```

use crate::config::Config;
use crate::io::ListenerId;
use crate::io::sockets::{listen_tcp, listen_tcp_beside, share_port};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Set in the number of a listener whose clients speak TLS.
const TLS_BIT: ListenerId = 1 << 31;

/// Returns whether the clients of a listener speak TLS.
pub fn is_tls_listener(id: ListenerId) -> bool {
    id & TLS_BIT != 0
}

/// All listening TCP sockets of a process.
#[derive(Debug, Default)]
pub struct Listeners {
    book: Mutex<Book>,
    /// Number of ports behind `port`, and behind `tls-port`, that are listened on, too.
    more: OnceLock<u16>,
}

#[derive(Debug, Default)]
struct Book {
    open: Vec<Listener>,
    next: ListenerId,
    orders: Orders,
}

#[derive(Debug)]
struct Listener {
    id: ListenerId,
    address: String,
    port: Port,
    socket: OwnedFd,
}

/// A port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port {
    number: u16,
    is_tls: bool,
    /// Distance from `port` or `tls-port`.
    offset: u16,
}

impl Port {
    fn behind(self, offset: u16) -> Port {
        Port { number: self.number.saturating_add(offset), offset, ..self }
    }
}

/// Orders to the acceptor: listen on the new sockets, then close the old ones.
#[derive(Debug, Default)]
pub struct Orders {
    /// New sockets: at most the number of addresses in `bind`, each time it is set.
    pub opened: Vec<(ListenerId, OwnedFd)>,
    /// Listeners to be closed.
    pub closed: Vec<ListenerId>,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// The address.
    pub address: String,
    /// The port.
    pub port: u16,
    /// Whether it is the port of TLS.
    pub is_tls: bool,
    /// The error of the kernel.
    pub error: io::Error,
}

/// New sockets that are open but not in use yet.
#[derive(Debug)]
pub struct Change<'l> {
    book: MutexGuard<'l, Book>,
    opened: Vec<Listener>,
    closed: Vec<ListenerId>,
}

impl Listeners {
    /// Opens the addresses of `bind` with `port` and `tls-port` that are not open yet. Addresses
    /// that are no longer wanted stay open until the change is committed.
    ///
    /// # Errors
    /// The first address that is in use or does not belong to this machine; nothing has changed
    /// then. An address with a leading `-` may be absent, or of a family that the kernel lacks.
    pub fn change(&self, config: &Config) -> Result<Change<'_>, ListenError> {
        let book = self.book();
        let plain = Port { number: config.port, is_tls: false, offset: 0 };
        let tls = Port { number: config.tls_port, is_tls: true, offset: 0 };
        let more = self.more.get().copied().unwrap_or(0);
        let ports = [plain, tls].into_iter().filter(|port| port.number != 0);
        let ports = ports.flat_map(|port| (0..=more).map(move |offset| port.behind(offset)));
        let is_wanted = |listener: &Listener| {
            ports.clone().any(|port| port == listener.port)
                && config.bind.contains(&listener.address)
        };
        let closed = book.open.iter().filter(|listener| !is_wanted(listener));
        let closed: Vec<ListenerId> = closed.map(|listener| listener.id).collect();
        let mut change = Change { book, opened: Vec::new(), closed };
        for port in ports {
            for address in &config.bind {
                change.open(address, port, config.tcp_backlog as i32)?;
            }
        }
        Ok(change)
    }

    /// Listens also on the `count` ports behind `port` and behind `tls-port`. Must be called before
    /// the first change.
    pub fn add_ports(&self, count: u16) {
        self.more.get_or_init(|| count);
    }

    /// Returns the distance from `port` to the port of a listener; 0 if it is not known.
    pub fn offset(&self, number: ListenerId) -> u16 {
        if self.more.get().is_none() {
            return 0;
        }
        let book = self.book();
        book.open.iter().find(|it| it.id == number).map_or(0, |it| it.port.offset)
    }

    /// Takes the orders since the last call.
    pub fn take_orders(&self) -> Orders {
        std::mem::take(&mut self.book().orders)
    }

    /// Returns the numbers of the sockets in use.
    pub fn numbers(&self) -> Vec<ListenerId> {
        self.book().open.iter().map(|listener| listener.id).collect()
    }

    /// Returns the number of listening sockets.
    pub fn len(&self) -> usize {
        self.book().open.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Each change of the book is complete before anything can panic.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change<'_> {
    fn open(&mut self, address: &str, port: Port, backlog: i32) -> Result<(), ListenError> {
        let is_it = |listener: &Listener| listener.address == address && listener.port == port;
        if self.book.open.iter().chain(&self.opened).any(is_it) {
            return Ok(());
        }
        let (name, may_miss) = match address.strip_prefix('-') {
            Some(name) => (name, true),
            None => (address, false),
        };
        let Port { number, is_tls, .. } = port;
        let mut socket = listen_tcp(name, number, backlog);
        // An old socket on this port that is about to close must not prevent the new one.
        if matches!(&socket, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            let old = self.book.open.iter().filter(|listener| listener.port.number == number);
            let old: Vec<_> = old.filter(|old| self.closed.contains(&old.id)).collect();
            if !old.is_empty() {
                old.iter().for_each(|old| share_port(old.socket.as_fd(), true));
                socket = listen_tcp_beside(name, number, backlog);
                old.iter().for_each(|old| share_port(old.socket.as_fd(), false));
            }
        }
        match socket {
            Ok(socket) => {
                let id = self.book.next | if is_tls { TLS_BIT } else { 0 };
                self.book.next += 1;
                self.opened.push(Listener { id, address: address.to_string(), port, socket });
                Ok(())
            }
            Err(error) if is_absent(&error, may_miss) => Ok(()),
            Err(error) => {
                Err(ListenError { address: name.to_string(), port: number, is_tls, error })
            }
        }
    }

    /// Orders the acceptor to carry out the change.
    ///
    /// # Errors
    /// The process has no descriptors left for the second handles; nothing has changed then.
    pub fn commit(mut self) -> io::Result<()> {
        let handles = self.opened.iter().map(|new| Ok((new.id, new.socket.try_clone()?)));
        let handles = handles.collect::<io::Result<Vec<_>>>()?;
        let Change { book, opened, closed } = &mut self;
        book.open.retain(|listener| !closed.contains(&listener.id));
        book.open.append(opened);
        book.orders.opened.extend(handles);
        book.orders.closed.append(closed);
        Ok(())
    }
}

/// Whether the error is acceptable: the address or its family is absent here, and it may be.
fn is_absent(error: &io::Error, may_miss: bool) -> bool {
    let absent = [
        libc::EAFNOSUPPORT,
        libc::ENOPROTOOPT,
        libc::EPROTONOSUPPORT,
        libc::ESOCKTNOSUPPORT,
        libc::EPFNOSUPPORT,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| absent.contains(&code) || (may_miss && code == libc::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn config(bind: &[&str], port: u16) -> Config {
        let mut config = Config::default();
        config.bind = bind.iter().map(|address| address.to_string()).collect();
        config.port = port;
        config
    }

    fn free_port() -> u16 {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        socket.local_addr().expect("the socket is bound").port()
    }

    #[test]
    fn addresses_change_while_others_stay() {
        let listeners = Listeners::default();
        let port = free_port();
        let all = config(&["0.0.0.0", "-192.0.2.1"], port);
        listeners.change(&all).expect("the port is free").commit().expect("descriptors");
        let first = listeners.take_orders();
        assert_eq!((first.opened.len(), first.closed.len(), listeners.len()), (1, 0, 1));
        // Beside the old socket, which has the same port on all addresses.
        let one = config(&["127.0.0.1"], port);
        listeners.change(&one).expect("both share the port").commit().expect("descriptors");
        let second = listeners.take_orders();
        assert_eq!((second.opened.len(), second.closed), (1, vec![first.opened[0].0]));
        drop(first);
        TcpStream::connect(("127.0.0.1", port)).expect("the new one listens");
        listeners.change(&one).expect("nothing to do").commit().expect("descriptors");
        assert_eq!(listeners.take_orders().opened.len(), 0);
        let none = config(&["127.0.0.1"], 0);
        listeners.change(&none).expect("nothing to open").commit().expect("descriptors");
        assert!(listeners.is_empty());
    }

    #[test]
    fn a_port_may_change_to_tls() {
        let listeners = Listeners::default();
        let port = free_port();
        let mut config = config(&["127.0.0.1"], port);
        listeners.change(&config).expect("the port is free").commit().expect("descriptors");
        let first = listeners.take_orders();
        assert!(!is_tls_listener(first.opened[0].0));
        (config.port, config.tls_port) = (0, port);
        listeners.change(&config).expect("both share it").commit().expect("descriptors");
        let second = listeners.take_orders();
        assert_eq!((second.opened.len(), second.closed), (1, vec![first.opened[0].0]));
        assert!(is_tls_listener(second.opened[0].0));
        config.port = free_port();
        listeners.change(&config).expect("both are free").commit().expect("descriptors");
        assert_eq!(listeners.len(), 2);
    }

    #[test]
    fn a_taken_port_changes_nothing() {
        let listeners = Listeners::default();
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = taken.local_addr().expect("the socket is bound").port();
        let mine = config(&["127.0.0.1"], free_port());
        listeners.change(&mine).expect("the port is free").commit().expect("descriptors");
        let error =
            listeners.change(&config(&["127.0.0.1"], port)).expect_err("the port is in use");
        assert_eq!((error.port, error.error.kind()), (port, io::ErrorKind::AddrInUse));
        assert_eq!((listeners.len(), listeners.take_orders().closed.len()), (1, 0));
    }
}
