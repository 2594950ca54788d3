//! Socket functions that std lacks: listening with a backlog, names in Redis's form, options, event
//! counters. All functions are safe to call.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::limits;

/// Sends the bytes for which the socket has room, without blocking and without SIGPIPE. Returns
/// their number.
pub(super) fn send_now(fd: BorrowedFd<'_>, from: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let start = from.as_ptr().cast::<c_void>();
    // Not by `libc::send`, which makes itself a point of cancellation of its thread and back.
    // SAFETY: the kernel reads `from.len()` bytes at `start`; the socket has its peer.
    let result = unsafe {
        libc::syscall(libc::SYS_sendto, fd.as_raw_fd(), start, from.len(), flags, 0usize, 0usize)
    };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Returns the error of the last call if `result` is negative.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Converts an IPv4 or IPv6 address to the kernel's form, with its length.
fn to_kernel(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: sockaddr_storage is plain data for which all zeroes are valid.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let len = match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is larger than and aligned for every socket address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(name) };
            mem::size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(name) };
            mem::size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}

/// Creates a nonblocking, close-on-exec stream socket.
fn stream_socket(family: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the option's value is a c_int that outlives the call, and `len` is its size.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast::<c_void>(), len) })?;
    Ok(())
}

/// Binds and listens on a TCP address: a name or number, `*` for all IPv4 and `::*` for all IPv6
/// addresses. The socket is nonblocking and close-on-exec, with SO_REUSEADDR. An IPv6 socket takes
/// no IPv4 connections.
///
/// # Errors
/// The address cannot be resolved, is in use, or does not belong to this machine.
pub fn listen_tcp(addr: &str, port: u16, backlog: i32) -> io::Result<OwnedFd> {
    listen_tcp_as(addr, port, backlog, false)
}

/// Binds and listens like [`listen_tcp`], on a port that other sockets may use too: sockets for
/// which [`share_port`] was called.
///
/// # Errors
/// The errors of [`listen_tcp`]; also if a socket that does not share its port uses it.
pub fn listen_tcp_beside(addr: &str, port: u16, backlog: i32) -> io::Result<OwnedFd> {
    listen_tcp_as(addr, port, backlog, true)
}

/// Sets whether other sockets may listen on the socket's port too.
pub fn share_port(socket: BorrowedFd<'_>, shares: bool) {
    let fd = socket.as_raw_fd();
    // On kernels without this option no other socket can listen on the port.
    let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, shares.into());
}

fn listen_tcp_as(addr: &str, port: u16, backlog: i32, shares: bool) -> io::Result<OwnedFd> {
    let address = match addr {
        "*" => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        "::*" => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
        name => (name, port).to_socket_addrs()?.next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address")
        })?,
    };
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let socket = stream_socket(family)?;
    let fd = socket.as_raw_fd();
    if address.is_ipv6() {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if shares {
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    let (name, len) = to_kernel(address);
    // SAFETY: `name` is a socket address of `len` bytes that outlives the call.
    check(unsafe { libc::bind(fd, (&raw const name).cast(), len) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(fd, backlog) })?;
    if shares {
        share_port(socket.as_fd(), false);
    }
    Ok(socket)
}

/// Binds and listens on a path; an existing file is replaced. `permissions` become the path's mode,
/// for example 0o700; 0 keeps the mode that the process's umask gives.
///
/// # Errors
/// The path is too long, or its folder does not permit it.
pub fn listen_unix(path: &Path, permissions: u32, backlog: i32) -> io::Result<OwnedFd> {
    let bytes = path.as_os_str().as_bytes();
    // SAFETY: sockaddr_un is plain data for which all zeroes are valid.
    let mut name: libc::sockaddr_un = unsafe { mem::zeroed() };
    if bytes.is_empty() || bytes.len() >= name.sun_path.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket path is too long"));
    }
    name.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in name.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let socket = stream_socket(libc::AF_UNIX)?;
    let c_path = CString::new(bytes)?;
    // SAFETY: `c_path` ends with a zero and outlives the call. A missing file is no failure.
    unsafe { libc::unlink(c_path.as_ptr()) };
    let len = mem::size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `name` is a socket address of `len` bytes that outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), len) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    if permissions != 0 {
        // SAFETY: `c_path` ends with a zero and outlives the call.
        check(unsafe { libc::chmod(c_path.as_ptr(), permissions as libc::mode_t) })?;
    }
    Ok(socket)
}

/// The local or remote address of a socket.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Inet(IpAddr, u16),
    Unix(String),
    Unknown,
}

/// The end of a socket whose name is wanted.
#[derive(Clone, Copy)]
enum End {
    Peer,
    Local,
}

fn address(fd: BorrowedFd<'_>, end: End) -> Address {
    // SAFETY: sockaddr_storage is plain data for which all zeroes are valid.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = mem::size_of_val(&storage) as libc::socklen_t;
    let name = (&raw mut storage).cast::<libc::sockaddr>();
    // SAFETY: `name` points to `len` writable bytes, both outlive the call.
    let result = unsafe {
        match end {
            End::Peer => libc::getpeername(fd.as_raw_fd(), name, &mut len),
            End::Local => libc::getsockname(fd.as_raw_fd(), name, &mut len),
        }
    };
    if result < 0 {
        return Address::Unknown;
    }
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in.
            let v4 = unsafe { (&raw const storage).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Address::Inet(IpAddr::V4(ip), u16::from_be(v4.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in6.
            let v6 = unsafe { (&raw const storage).cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Address::Inet(IpAddr::V6(ip), u16::from_be(v6.sin6_port))
        }
        libc::AF_UNIX => {
            // SAFETY: the family says that the kernel wrote a sockaddr_un; the rest is zeroes.
            let unix = unsafe { (&raw const storage).cast::<libc::sockaddr_un>().read() };
            let path = unix.sun_path.iter().take_while(|byte| **byte != 0);
            let bytes: Vec<u8> = path.map(|byte| *byte as u8).collect();
            Address::Unix(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => Address::Unknown,
    }
}

fn name(address: Address) -> String {
    match address {
        Address::Inet(ip, port) => SocketAddr::new(ip, port).to_string(),
        Address::Unix(path) => format!("{path}:0"),
        Address::Unknown => "?:0".to_string(),
    }
}

/// Returns the local name: `127.0.0.1:1234`, `[::1]:1234`, `/path:0`; `?:0` when the kernel has
/// none.
pub fn local_name(fd: BorrowedFd<'_>) -> String {
    name(address(fd, End::Local))
}

/// Returns the remote name, in the form of [`local_name`]. The client of a Unix socket has no name;
/// it gets the server's path.
pub fn peer_name(fd: BorrowedFd<'_>) -> String {
    match address(fd, End::Peer) {
        Address::Unix(path) if path.is_empty() => local_name(fd),
        other => name(other),
    }
}

/// Whether the socket is a Unix domain socket.
pub fn is_unix(fd: BorrowedFd<'_>) -> bool {
    matches!(address(fd, End::Local), Address::Unix(_))
}

/// Returns the remote IP address, if there is one. Protected mode depends on it.
pub fn peer_ip(fd: BorrowedFd<'_>) -> Option<IpAddr> {
    match address(fd, End::Peer) {
        Address::Inet(ip, _) => Some(ip),
        Address::Unix(_) | Address::Unknown => None,
    }
}

/// Makes TCP send small replies at once. Returns false if the socket is not TCP.
pub fn set_nodelay(fd: BorrowedFd<'_>) -> bool {
    set_option(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1).is_ok()
}

/// Probes a silent peer of a TCP socket after `seconds`, and drops the connection after `seconds`
/// more; 0 turns the probes off.
///
/// # Errors
/// The socket is not TCP.
pub fn set_keepalive(fd: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, c_int::from(seconds > 0))?;
    if seconds > 0 {
        /// Probes before the connection counts as dead.
        const PROBES: u32 = 3;
        /// Longest time that the kernel accepts, in seconds.
        const SECONDS_MAX: u32 = 32_767;
        let seconds = seconds.min(SECONDS_MAX);
        let interval = (seconds / PROBES).max(1);
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds as c_int)?;
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, interval as c_int)?;
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, PROBES as c_int)?;
    }
    Ok(())
}

/// Ends a listening socket at once: its address is free and pending operations on it fail.
pub(super) fn stop_listening(fd: BorrowedFd<'_>) {
    // SAFETY: no memory is passed. The call fails only if the socket no longer listens, which is
    // the aim.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RD) };
}

/// Whether the kernel has bytes that it could not send yet, because the peer does not read.
pub(super) fn has_unsent(fd: BorrowedFd<'_>) -> bool {
    /// `SIOCOUTQNSD`: the number of bytes in the send queue that were not sent yet.
    const UNSENT_BYTES: u16 = 0x894B;
    let mut bytes: c_int = 0;
    // SAFETY: the request writes one c_int, which outlives the call.
    let status = unsafe { libc::ioctl(fd.as_raw_fd(), UNSENT_BYTES.into(), &raw mut bytes) };
    status == 0 && bytes > 0
}

/// Makes the close of a TCP socket discard the bytes that the peer has not taken, with a reset.
pub(super) fn reset_on_close(fd: BorrowedFd<'_>) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let (value, len) = ((&raw const linger).cast::<c_void>(), mem::size_of::<libc::linger>());
    // SAFETY: the option's value is a linger that outlives the call, and `len` is its size. Without
    // the option, the kernel closes the socket later.
    unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, len as u32);
    }
}

/// Discards received bytes that were not read. A TCP socket closed with unread input sends a reset,
/// which can destroy replies that the peer has not read yet.
pub(super) fn discard_input(fd: BorrowedFd<'_>) {
    let mut scratch = [0u8; 4096];
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    for _ in 0..limits::DISCARDS_PER_CLOSE {
        /// More than a usual receive window.
        const DISCARD_BYTES: usize = 1 << 20;
        // SAFETY: with MSG_TRUNC a TCP socket writes no bytes. Other stream sockets do write, so
        // they get `scratch` and its length.
        let result = unsafe {
            if is_tcp(fd) {
                libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), DISCARD_BYTES, flags)
            } else {
                let to = scratch.as_mut_ptr().cast::<c_void>();
                libc::recv(fd.as_raw_fd(), to, scratch.len(), libc::MSG_DONTWAIT)
            }
        };
        if result <= 0 {
            return;
        }
    }
}

/// Whether the socket is TCP over IPv4 or IPv6.
fn is_tcp(fd: BorrowedFd<'_>) -> bool {
    let mut protocol: c_int = 0;
    let mut len = mem::size_of::<c_int>() as libc::socklen_t;
    let value = (&raw mut protocol).cast::<c_void>();
    // SAFETY: `value` points to `len` writable bytes, both outlive the call.
    let result = unsafe {
        let fd = fd.as_raw_fd();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL, value, &mut len)
    };
    result == 0 && protocol == libc::IPPROTO_TCP
}

/// Makes calls such as accept return instead of block.
///
/// # Errors
/// The descriptor does not support nonblocking calls.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK == 0 {
        let flags = flags | libc::O_NONBLOCK;
        // SAFETY: no memory is passed.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })?;
    }
    Ok(())
}

/// Creates a nonblocking event counter: an 8-byte write adds to it, an 8-byte read returns and
/// clears it.
///
/// # Errors
/// The process is out of descriptors.
pub(super) fn event_counter() -> io::Result<File> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn names_are_in_the_form_of_client_list() {
        for (addr, start) in [("127.0.0.1", "127.0.0.1:"), ("::1", "[::1]:")] {
            let Ok(socket) = listen_tcp(addr, 0, 16) else {
                println!("skipped {addr}: not an address of this machine");
                continue;
            };
            let listener = TcpListener::from(socket);
            let local = local_name(listener.as_fd());
            assert!(local.starts_with(start), "{local}");
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let accepted = accept(&listener);
            assert_eq!(peer_name(client.as_fd()), local);
            assert_eq!(local_name(accepted.as_fd()), local);
            assert_eq!(peer_name(accepted.as_fd()), local_name(client.as_fd()));
            assert!(peer_ip(accepted.as_fd()).unwrap().is_loopback());
            assert!(!is_unix(accepted.as_fd()) && set_nodelay(accepted.as_fd()));
            assert!(accepted.nodelay().unwrap());
            set_keepalive(accepted.as_fd(), 60).unwrap();
            set_keepalive(accepted.as_fd(), 0).unwrap();
        }
    }

    /// Accepts a connection from a nonblocking listener.
    fn accept(listener: &TcpListener) -> TcpStream {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[test]
    fn a_unix_socket_replaces_its_path_and_has_its_permissions() {
        let file = format!("annulet-sockets-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(file);
        drop(listen_unix(&path, 0, 16).unwrap());
        let listener = UnixListener::from(listen_unix(&path, 0o640, 16).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let client = UnixStream::connect(&path).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let name = format!("{}:0", path.display());
        assert_eq!(peer_name(accepted.as_fd()), name);
        assert_eq!(local_name(accepted.as_fd()), name);
        assert!(is_unix(client.as_fd()) && !set_nodelay(client.as_fd()));
        std::fs::remove_file(&path).unwrap();
        let long = std::env::temp_dir().join("x".repeat(200));
        assert_eq!(listen_unix(&long, 0, 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_address_in_use_is_refused_until_listening_ends() {
        let first = listen_tcp("*", 0, 16).unwrap();
        let port = local_name(first.as_fd()).rsplit(':').next().unwrap().parse().unwrap();
        let error = listen_tcp("*", port, 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        stop_listening(first.as_fd());
        listen_tcp("*", port, 16).unwrap();
        assert!(listen_tcp("no.such.name.invalid", 0, 1).is_err());
    }

    #[test]
    fn discarding_leaves_nothing_to_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        client.write_all(&[7; 10_000]).unwrap();
        discard_input(accepted.as_fd());
        accepted.set_nonblocking(true).unwrap();
        let error = accepted.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_event_counter_adds_up() {
        let mut counter = event_counter().unwrap();
        let mut count = [0; 8];
        assert_eq!(counter.read(&mut count).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        counter.write_all(&2u64.to_ne_bytes()).unwrap();
        counter.write_all(&3u64.to_ne_bytes()).unwrap();
        counter.read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 5);
    }
}
