//! A request's head: parsed by httparse, and reduced to the fields that this port uses.

use super::limits::{HEADERS_MAX, REQUEST_BYTES_MAX};
use super::response::{Response, Status};

/// The method. This port is read-only, so there are no other methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The whole response.
    Get,
    /// The response without its body.
    Head,
    /// Any other method: it is refused.
    Other,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The path without the query.
    pub(super) path: String,
    /// The host name (and port) of the request; only HTTP/1.0 may omit it.
    pub(super) host: Option<String>,
    /// The value of `Authorization`.
    pub(super) authorization: Option<String>,
    /// Whether further requests may follow on the connection.
    pub(super) keeps_alive: bool,
}

/// Parses a head at the start of `text`. Returns the request and its length in bytes, or `None`
/// while the head is incomplete. A refusal ends the connection.
pub(super) fn parse(text: &[u8]) -> Result<Option<(Request, usize)>, Response> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(text) {
        Ok(httparse::Status::Complete(len)) if len <= REQUEST_BYTES_MAX => len,
        Ok(httparse::Status::Partial) if text.len() < REQUEST_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(refuse(Status::TooLarge)),
        Err(_) => return Err(refuse(Status::BadRequest)),
    };
    let mut request = Request {
        method: match head.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            _ => Method::Other,
        },
        path: String::new(),
        host: None,
        authorization: None,
        keeps_alive: head.version == Some(1),
    };
    for header in head.headers.iter() {
        request.note(header.name, header.value)?;
    }
    request.aim(head.path.unwrap_or_default());
    if head.version == Some(1) && request.host.is_none() {
        return Err(refuse(Status::BadRequest));
    }
    Ok(Some((request, len)))
}

fn refuse(status: Status) -> Response {
    Response::of(status)
}

impl Request {
    /// Stores a header, or refuses one that is ambiguous.
    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Response> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let text = || std::str::from_utf8(value).map_err(|_| refuse(Status::BadRequest));
        if is("host") {
            if self.host.replace(text()?.to_owned()).is_some() {
                return Err(refuse(Status::BadRequest));
            }
        } else if is("authorization") {
            self.authorization = Some(text()?.to_owned());
        } else if is("connection") {
            for option in text()?.split(',').map(str::trim) {
                if option.eq_ignore_ascii_case("close") {
                    self.keeps_alive = false;
                } else if option.eq_ignore_ascii_case("keep-alive") {
                    self.keeps_alive = true;
                }
            }
        } else if is("transfer-encoding") || (is("content-length") && value != b"0") {
            // A body has no meaning here and would not be read.
            return Err(refuse(Status::BadRequest));
        }
        Ok(())
    }

    /// Stores the target's path; a target with a scheme also names the host.
    fn aim(&mut self, target: &str) {
        let mut path = target;
        if let Some(rest) = target.strip_prefix("http://") {
            let end = rest.find('/').unwrap_or(rest.len());
            self.host = Some(rest[..end].to_owned());
            path = if end == rest.len() { "/" } else { &rest[end..] };
        }
        self.path = path.split('?').next().unwrap_or_default().to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn whole(text: &str) -> Request {
        let (request, len) = parse(text.as_bytes()).expect("valid").expect("whole");
        assert_eq!(len, text.find("\r\n\r\n").expect("an end") + 4);
        request
    }

    fn status(text: &str) -> Status {
        parse(text.as_bytes()).expect_err("a refusal").status
    }

    #[test]
    fn heads_are_read() {
        let text = "GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:9121\r\n\
                    AUTHORIZATION: Basic abc\r\n\r\nGET /";
        let request = whole(text);
        assert_eq!(request.method, Method::Get);
        assert_eq!(request.path, "/metrics");
        assert_eq!(request.host.as_deref(), Some("localhost:9121"));
        assert_eq!(request.authorization.as_deref(), Some("Basic abc"));
        assert!(request.keeps_alive);
        for end in 0..text.find("\r\n\r\n").unwrap() + 3 {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{end}");
        }
        assert!(!whole("HEAD / HTTP/1.0\r\n\r\n").keeps_alive);
        assert!(whole("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keeps_alive);
        assert!(!whole("GET / HTTP/1.1\r\nHost: a\r\nConnection: te, close\r\n\r\n").keeps_alive);
        assert_eq!(whole("POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n").method, Method::Other);
        let absolute = whole("GET http://elsewhere:1/a?b HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!((absolute.host.as_deref(), &absolute.path[..]), (Some("elsewhere:1"), "/a"));
        assert_eq!(whole("GET http://a HTTP/1.0\r\n\r\n").path, "/");
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for text in [
            "GET /\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        ] {
            assert_eq!(status(text), Status::BadRequest, "{text}");
        }
        let many = format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(status(&many), Status::TooLarge);
        let long = format!("GET / HTTP/1.0\r\na: {}", "b".repeat(REQUEST_BYTES_MAX));
        assert_eq!(status(&long), Status::TooLarge);
        assert_eq!(status(&format!("{long}\r\n\r\n")), Status::TooLarge);
    }

    /// Returns a head from parts of valid heads, sometimes damaged.
    fn random_head(rng: &mut Rng) -> Vec<u8> {
        let lines: [&[u8]; 14] = [
            b"GET / HTTP/1.1\r\n",
            b"HEAD http://a:1/b?c HTTP/1.0\r\n",
            b"POST http:// HTTP/1.1\r\n",
            b"Host: a\r\n",
            b"host:\r\n",
            b"Connection: close, keep-alive\r\n",
            b"Content-Length: 0\r\n",
            b"Content-Length: 18446744073709551616\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Authorization: Basic \xff\r\n",
            b" folded: line\r\n",
            b"a: \t b \n",
            b"\r\n",
            b"*1\r\n$4\r\nPING\r\n",
        ];
        let mut head = Vec::new();
        for at in 0..rng.below(12) {
            let line = lines[rng.below(if at == 0 { 3 } else { 14 }) as usize];
            head.extend_from_slice(line);
        }
        for _ in 0..rng.below(3) {
            let at = rng.below(head.len() as u64 + 1) as usize;
            match rng.below(3) {
                0 => head.insert(at, rng.next_u64() as u8),
                1 => head.truncate(at),
                _ => drop(head.splice(at..at, b"x: y\r\n".repeat(rng.below(200) as usize))),
            }
        }
        head
    }

    #[test]
    fn cuts_do_not_matter() {
        let mut rng = Rng::new(1);
        let (mut heads, mut refusals) = (0, 0);
        for _ in 0..3_000 {
            let head = random_head(&mut rng);
            let found = (0..=head.len()).map(|end| parse(&head[..end]));
            match found.into_iter().find(|found| *found != Ok(None)) {
                // What follows does not change what was found.
                Some(Ok(Some((request, len)))) => {
                    assert_eq!(parse(&head), Ok(Some((request, len))));
                    assert!(len <= REQUEST_BYTES_MAX);
                    heads += 1;
                }
                Some(Err(_)) => {
                    assert!(parse(&head).is_err());
                    refusals += 1;
                }
                _ => assert!(head.len() < REQUEST_BYTES_MAX, "a head of any length ends"),
            }
        }
        assert!(heads > 100 && refusals > 100, "{heads} {refusals}");
    }
}
