//! TLS of connections, by rustls.
//!
//! Must not know: users, commands, shards. Does not own a socket.
//!
//! ```text
//!   settings, files --context--> Context --TlsStream::new--> one per connection
//!        CONFIG SET, changed files --store--^
//! ```
//! Connections keep the context that they began with. `client` opens connections to other servers.

mod certificate;
mod client;
mod context;
pub mod limits;
mod sessions;
mod store;
mod stream;
mod suites;
mod verifier;

pub use certificate::Certificate;
pub use client::ClientStream;
pub use context::{Context, Shown};
pub use store::{Reload, Tls};
pub use stream::{Progress, TlsError, TlsStream};
