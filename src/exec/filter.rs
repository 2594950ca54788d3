//! Which sessions CLIENT LIST and CLIENT KILL mean.

use super::session::Session;

/// The flags that CLIENT LIST knows: a filter may name no others.
pub const CLIENT_FLAGS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";

/// The capabilities that CLIENT LIST knows.
pub const CLIENT_CAPABILITIES: &[u8] = b"r";

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// A client as any other.
    Normal,
    /// The link to our primary.
    Primary,
    /// The link to a replica of ours.
    Replica,
    /// A subscriber.
    Pubsub,
}

/// What a session may have or be. Nothing given matches nothing and demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// One of these ids.
    pub ids: Option<Vec<u64>>,
    /// This peer address.
    pub address: Option<Vec<u8>>,
    /// This address of ours.
    pub local_address: Option<Vec<u8>>,
    /// The peer's address without its port.
    pub ip: Option<Vec<u8>>,
    /// This kind.
    pub kind: Option<ClientKind>,
    /// This user.
    pub user: Option<Vec<u8>>,
    /// All of these flags.
    pub flags: Option<Vec<u8>>,
    /// All of these capabilities.
    pub capabilities: Option<Vec<u8>>,
    /// This name; no session has the empty one.
    pub name: Option<Vec<u8>>,
    /// This client library; no session has the empty one.
    pub lib_name: Option<Vec<u8>>,
    /// This version of it; no session has the empty one.
    pub lib_version: Option<Vec<u8>>,
    /// This selected database.
    pub db: Option<usize>,
}

impl Traits {
    /// For each trait that is given whether the session has it.
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
            is(&self.user, b"default"),
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

/// Whether an address is an ip and a port other than 0; `[::1]:6379` has the ip `::1`.
fn has_ip(address: &str, ip: &[u8]) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.as_bytes() == ip && !port.starts_with('0')
}

/// Which sessions are meant. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// It has all of these.
    pub with: Traits,
    /// It has none of these.
    pub without: Traits,
    /// Connected for at least so many seconds.
    pub age_min_s: Option<u64>,
    /// Without a command for at least so many seconds.
    pub idle_min_s: Option<u64>,
    /// Not the asking session itself.
    pub skip_id: Option<u64>,
}

impl ClientFilter {
    /// Whether the session passes; `now_ms` is monotonic.
    pub fn passes(&self, session: &Session, now_ms: u64) -> bool {
        let since = |then_ms: u64, least_s: Option<u64>| {
            least_s.is_none_or(|s| now_ms.saturating_sub(then_ms) / 1_000 >= s)
        };
        self.with.on(session).all(|has| has)
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
    fn every_condition_counts() {
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
        assert!(passes(|f| f.with.user = text("default")));
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
    fn ips_come_with_and_without_brackets() {
        assert!(has_ip("[::1]:6379", b"::1"));
        assert!(!has_ip("/tmp/socket:0", b"/tmp/socket"));
        assert!(!has_ip("", b""));
    }
}
