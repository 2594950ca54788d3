//! Which sessions CLIENT LIST and CLIENT KILL select.

use super::session::Session;

/// Flags of CLIENT LIST. A filter may name no others.
pub const CLIENT_FLAGS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";

/// Capabilities of CLIENT LIST.
pub const CLIENT_CAPABILITIES: &[u8] = b"r";

/// Kind of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// A normal client.
    Normal,
    /// The link to our primary.
    Primary,
    /// The link to one of our replicas.
    Replica,
    /// A subscriber.
    Pubsub,
}

/// Traits that a filter requires or excludes. A trait that is not given selects nothing and
/// requires nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Has one of these ids.
    pub ids: Option<Vec<u64>>,
    /// Has this peer address.
    pub address: Option<Vec<u8>>,
    /// Has this address on our side.
    pub local_address: Option<Vec<u8>>,
    /// Has this peer address, without the port.
    pub ip: Option<Vec<u8>>,
    /// Is of this kind.
    pub kind: Option<ClientKind>,
    /// Has this user.
    pub user: Option<Vec<u8>>,
    /// Has all of these flags.
    pub flags: Option<Vec<u8>>,
    /// Has all of these capabilities.
    pub capabilities: Option<Vec<u8>>,
    /// Has this name. An empty name matches no session.
    pub name: Option<Vec<u8>>,
    /// Has this client library. An empty name matches no session.
    pub lib_name: Option<Vec<u8>>,
    /// Has this library version. An empty version matches no session.
    pub lib_version: Option<Vec<u8>>,
    /// Has selected this database.
    pub db: Option<usize>,
}

impl Traits {
    /// Iterates over the given traits: whether the session has each.
    fn on(&self, session: &Session) -> impl Iterator<Item = bool> {
        let is = |want: &Option<Vec<u8>>, have: &[u8]| want.as_ref().map(|want| want == have);
        let is_named = |want: &Option<Vec<u8>>, have: &[u8]| {
            want.as_ref().map(|want| !have.is_empty() && want == have)
        };
        let flags = self.flags.as_ref();
        let capabilities = self.capabilities.as_ref();
        let has = session.capabilities().as_bytes();
        let traits = [
            self.ids.as_ref().map(|ids| ids.contains(&session.id)),
            is(&self.address, session.address.as_bytes()),
            is(&self.local_address, session.local_address.as_bytes()),
            self.ip.as_ref().map(|ip| has_ip(&session.address, ip)),
            self.kind.map(|kind| kind == session.kind()),
            is(&self.user, session.user_name()),
            flags.map(|flags| flags.iter().all(|flag| session.has_flag(*flag))),
            capabilities.map(|wanted| wanted.iter().all(|letter| has.contains(letter))),
            is_named(&self.name, &session.name),
            is_named(&self.lib_name, &session.lib_name),
            is_named(&self.lib_version, &session.lib_version),
            self.db.map(|db| db == session.db),
        ];
        traits.into_iter().flatten()
    }
}

/// Returns whether an address has this IP and a port other than 0. `[::1]:6379` has the IP `::1`.
fn has_ip(address: &str, ip: &[u8]) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.as_bytes() == ip && !port.starts_with('0')
}

/// Selects sessions. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Traits that the session must all have.
    pub with: Traits,
    /// Traits that the session must not have.
    pub without: Traits,
    /// Connected for at least this number of seconds.
    pub age_min_s: Option<u64>,
    /// Without a command for at least this number of seconds.
    pub idle_min_s: Option<u64>,
    /// Session to skip: the one that asks.
    pub skip_id: Option<u64>,
}

impl ClientFilter {
    /// Returns whether the session passes. `now_ms` is monotonic.
    pub fn passes(&self, session: &Session, now_ms: u64) -> bool {
        let since = |then_ms: u64, least_s: Option<u64>| {
            least_s.is_none_or(|s| now_ms.saturating_sub(then_ms) / 1_000 >= s)
        };
        !session.is_loader()
            && self.with.on(session).all(|has| has)
            && !self.without.on(session).any(|has| has)
            && since(session.connected_ms, self.age_min_s)
            && since(session.active_ms, self.idle_min_s)
            && self.skip_id != Some(session.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let mut session = Session::new(7, true, 10_000);
        session.address = "127.0.0.1:50000".to_string();
        session.local_address = "127.0.0.1:6379".to_string();
        session.name = b"me".to_vec();
        session.db = 3;
        session
    }

    fn passes(change: impl FnOnce(&mut ClientFilter)) -> bool {
        let mut filter = ClientFilter::default();
        change(&mut filter);
        filter.passes(&session(), 15_500)
    }

    #[test]
    fn every_condition_is_checked() {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        assert!(passes(|_| {}));
        assert!(passes(|f| f.with.ids = Some(vec![1, 7])));
        assert!(!passes(|f| f.with.ids = Some(vec![])));
        assert!(!passes(|f| f.without.ids = Some(vec![7])));
        assert!(passes(|f| f.with.address = text("127.0.0.1:50000")));
        assert!(!passes(|f| f.without.local_address = text("127.0.0.1:6379")));
        assert!(passes(|f| f.with.ip = text("127.0.0.1")));
        assert!(!passes(|f| f.with.ip = text("127.0.0")));
        assert!(!passes(|f| f.with.kind = Some(ClientKind::Pubsub)));
        assert!(!passes(|f| f.without.kind = Some(ClientKind::Normal)));
        assert!(passes(|f| f.with.user = text("(superuser)")));
        assert!(passes(|f| f.with.flags = text("N")));
        assert!(!passes(|f| f.with.flags = text("NU")));
        assert!(passes(|f| f.without.flags = text("NU")));
        assert!(!passes(|f| f.with.capabilities = text("r")));
        assert!(passes(|f| f.with.name = text("me")));
        assert!(!passes(|f| f.with.lib_name = text("")));
        assert!(passes(|f| f.without.lib_version = text("")));
        assert!(!passes(|f| f.without.db = Some(3)));
        assert!(passes(|f| f.age_min_s = Some(5)));
        assert!(!passes(|f| f.idle_min_s = Some(6)));
        assert!(!passes(|f| f.skip_id = Some(7)));
    }

    #[test]
    fn ips_match_with_and_without_brackets() {
        assert!(has_ip("[::1]:6379", b"::1"));
        assert!(!has_ip("/tmp/socket:0", b"/tmp/socket"));
        assert!(!has_ip("", b""));
    }
}
