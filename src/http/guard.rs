//! Access control: the guards in their order. Each is a small pure function, and the first refusal
//! is the answer.

use super::request::{Method, Request};
use super::response::{Response, Status};
use crate::acl::{Acl, User};
use crate::config::Config;
use crate::exec::{self, CommandTable};
use std::net::IpAddr;
use std::sync::Arc;

/// A request with the facts about its connection that the guards need.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    /// Whether the peer is on this machine.
    pub(super) is_peer_local: bool,
    /// Whether the request came to a loopback address.
    pub(super) came_to_loopback: bool,
    pub(super) config: &'a Config,
    pub(super) acl: &'a Acl,
    /// The commands whose permissions a path requires.
    pub(super) commands: &'static CommandTable,
}

type Guard = fn(&Asked<'_>) -> Result<(), Response>;

/// All guards, in the order in which they run.
static GUARDS: &[Guard] = &[protected_mode, host, password, method, permission];

/// The commands that show what a path shows, with a subcommand.
static PATHS: &[(&str, &[[&str; 2]])] =
    &[("/metrics", &[["info", ""]]), ("/status.json", &[["info", ""], ["slowlog", "get"]])];

/// Returns the first refusal, if any.
pub(super) fn admit(asked: &Asked<'_>) -> Result<(), Response> {
    GUARDS.iter().try_for_each(|guard| guard(asked))
}

/// Refuses peers of other machines if the server is in protected mode without a password, as on the
/// data port.
fn protected_mode(asked: &Asked<'_>) -> Result<(), Response> {
    let is_open = !asked.config.protected_mode || !asked.acl.is_unprotected();
    if asked.is_peer_local || is_open {
        return Ok(());
    }
    let text = "This server is in protected mode and has no password: it answers only its own \
                 machine. Set requirepass, or turn protected-mode off.\n";
    Err(Response::saying(Status::Forbidden, text))
}

/// Refuses other host names on a loopback address (DNS rebinding). A web page can make a browser
/// send a request to a loopback address under a host name of the page's site, and then read the
/// answer as the site's own. So on loopback only this machine's own names are accepted.
fn host(asked: &Asked<'_>) -> Result<(), Response> {
    let Some(host) = asked.request.host.as_deref().filter(|_| asked.came_to_loopback) else {
        return Ok(());
    };
    if is_loopback_name(host) {
        return Ok(());
    }
    let text = "The host of the request is not a name of this machine.\n";
    Err(Response::saying(Status::Forbidden, text))
}

/// Whether a host is `localhost`, a name below it, or a loopback address, with or without a port.
fn is_loopback_name(host: &str) -> bool {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => name,
        Some((name, port)) if port.strip_prefix(':').is_some_and(is_port) => name,
        Some(_) => return false,
        None => match host.split_once(':') {
            Some((name, port)) if is_port(port) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.to_ascii_lowercase();
    let is_number = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_number || name == "localhost" || name.ends_with(".localhost")
}

/// Requires the password of a user, unless the default user needs none.
fn password(asked: &Asked<'_>) -> Result<(), Response> {
    match asked.user() {
        Some(_) => Ok(()),
        None => Err(Response::of(Status::Unauthorized)),
    }
}

/// Requires that the rules of the user allow the commands that show the same.
fn permission(asked: &Asked<'_>) -> Result<(), Response> {
    let Some(user) = asked.user().filter(|user| !user.is_free()) else { return Ok(()) };
    let of_path = PATHS.iter().find(|(path, _)| *path == asked.request.path);
    for [name, subcommand] in of_path.map_or(&[][..], |(_, commands)| commands) {
        // A command that was renamed away has no rules.
        let Some(entry) = asked.commands.find(name.as_bytes()) else { continue };
        let entry = entry.subcommand(subcommand.as_bytes()).unwrap_or(entry);
        let args = [name.as_bytes(), subcommand.as_bytes()];
        let argc = if subcommand.is_empty() { 1 } else { 2 };
        let arg = |at: usize| args[at];
        let asked = exec::Asked { entry, argc, arg: &arg, db: 0, databases: 1 };
        if asked.refusal(&user).is_some() {
            let text = format!("The user has no permissions to run '{}'.\n", entry.name);
            return Err(Response::saying(Status::Forbidden, text));
        }
    }
    Ok(())
}

impl Asked<'_> {
    /// Returns the user who asks; none if the request must have a password and has not the right
    /// one. `Basic` has a name and a password, `Bearer` the password of the default user.
    fn user(&self) -> Option<Arc<User>> {
        let given = self.request.authorization.as_deref().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            let token = token.trim_start().as_bytes();
            if scheme.eq_ignore_ascii_case("bearer") {
                return self.acl.authenticate(b"default", token);
            }
            let is_basic = scheme.eq_ignore_ascii_case("basic");
            let pair = is_basic.then(|| decode_base64(token)).flatten()?;
            let colon = pair.iter().position(|byte| *byte == b':')?;
            self.acl.authenticate(&pair[..colon], &pair[colon + 1..])
        });
        given.or_else(|| self.acl.is_open().then(|| self.acl.default_user()))
    }
}

/// Refuses methods other than GET and HEAD: this port is read-only.
fn method(asked: &Asked<'_>) -> Result<(), Response> {
    match asked.request.method {
        Method::Get | Method::Head => Ok(()),
        Method::Other => Err(Response::of(Status::MethodNotAllowed)),
    }
}

/// Decodes Base64 with padding, as in RFC 4648.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text[..text.len() - padding].chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            bits = bits << 6 | u32::from(group.get(at).map_or(Some(0), |byte| digit(*byte))?);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    bytes.truncate(bytes.len() - padding);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::NewUsers;
    use crate::commands::FAMILIES;
    use std::sync::LazyLock;

    /// Encodes in Base64.
    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
                text.push(if at > group.len() { '=' } else { digit.into() });
            }
        }
        text
    }

    #[test]
    fn base64_is_decoded() {
        for bytes in [&b"a"[..], b"ab", b"abc", b"abcd", &[0xff, 0xfe, 0xfd, 0, 1]] {
            assert_eq!(decode_base64(base64(bytes).as_bytes()).as_deref(), Some(bytes));
        }
        for wrong in ["", "=", "a", "ab=c", "a===", "ab!=", "===="] {
            assert_eq!(decode_base64(wrong.as_bytes()), None, "{wrong}");
        }
    }

    fn asked(change: impl FnOnce(&mut Config, &mut Request)) -> (Config, Request) {
        let mut config = Config::default();
        let mut request = Request {
            method: Method::Get,
            path: "/".to_owned(),
            host: Some("localhost:9121".to_owned()),
            authorization: None,
            keeps_alive: true,
        };
        change(&mut config, &mut request);
        (config, request)
    }

    fn status(is_local: bool, change: impl FnOnce(&mut Config, &mut Request)) -> Status {
        let (config, request) = asked(change);
        static TABLE: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(FAMILIES));
        let acl = Acl::new(TABLE.catalogue());
        let new = NewUsers { all_channels: true };
        let rules: &[&[u8]] = &[b"on", b">pw", b"+ping", b"+info"];
        acl.set_user(b"some", rules, new).expect("valid rules");
        acl.set_default_password(&config.requirepass);
        let asked = Asked {
            acl: &acl,
            request: &request,
            is_peer_local: is_local,
            came_to_loopback: is_local,
            config: &config,
            commands: LazyLock::force(&TABLE),
        };
        admit(&asked).map_or_else(|refusal| refusal.status, |()| Status::Ok)
    }

    #[test]
    fn access_depends_on_peer_and_settings() {
        assert_eq!(status(true, |_, _| {}), Status::Ok);
        assert_eq!(status(false, |_, _| {}), Status::Forbidden);
        assert_eq!(status(false, |config, _| config.protected_mode = false), Status::Ok);
        let secret = |config: &mut Config| config.requirepass = b"open sesame".to_vec();
        assert_eq!(status(true, |config, _| secret(config)), Status::Unauthorized);
        assert_eq!(status(false, |config, _| secret(config)), Status::Unauthorized);
        let with = |value: String| {
            status(false, |config, request| {
                secret(config);
                request.authorization = Some(value);
            })
        };
        assert_eq!(with(format!("basic {}", base64(b"default:open sesame"))), Status::Ok);
        for wrong in ["default:open sesam", "default:", ":open sesame", "other:open sesame", ""] {
            assert_eq!(with(format!("Basic {}", base64(wrong.as_bytes()))), Status::Unauthorized);
        }
        assert_eq!(with("Bearer open sesame".to_owned()), Status::Ok);
        for wrong in ["", "Basic", "Basic ", "Bearer abc", "Basic ZGVmYXVsdDpvcGVu"] {
            assert_eq!(with(wrong.to_owned()), Status::Unauthorized, "{wrong}");
        }
        let other = |_: &mut Config, request: &mut Request| request.method = Method::Other;
        assert_eq!(status(true, other), Status::MethodNotAllowed);
    }

    #[test]
    fn rules_of_users_hold() {
        let with = |pair: &str, path: &str| {
            status(true, |config, request| {
                config.requirepass = b"word".to_vec();
                request.authorization = Some(format!("Basic {}", base64(pair.as_bytes())));
                request.path = path.to_owned();
            })
        };
        for path in ["/", "/page.js", "/healthz", "/metrics"] {
            assert_eq!(with("some:pw", path), Status::Ok, "{path}");
        }
        // It shows the arguments of slow commands.
        assert_eq!(with("some:pw", "/status.json"), Status::Forbidden);
        assert_eq!(with("default:word", "/status.json"), Status::Ok);
    }

    #[test]
    fn other_names_of_the_loopback_are_refused() {
        let with = |host: &str| status(true, |_, request| request.host = Some(host.to_owned()));
        for own in ["localhost", "LOCALHOST:80", "127.0.0.1:9121", "127.1.2.3", "[::1]", "[::1]:1"]
        {
            assert_eq!(with(own), Status::Ok, "{own}");
        }
        assert_eq!(with("annulet.localhost:9121"), Status::Ok);
        for other in ["evil.example", "localhost.evil.example", "10.0.0.1", "", "[::2]", "[::1]x"] {
            assert_eq!(with(other), Status::Forbidden, "{other}");
        }
        assert_eq!(with("localhost:80@evil"), Status::Forbidden);
        assert_eq!(status(true, |_, request| request.host = None), Status::Ok);
    }

    #[test]
    fn base64_matches_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
