//! A response, and its bytes on the wire.

use std::borrow::Cow;
use std::fmt::Write;

/// The status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    TooLarge,
    Unavailable,
}

impl Status {
    /// Returns the code and its reason phrase.
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::TooLarge => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
        }
    }

    /// Returns the headers that this status requires.
    fn headers(self) -> &'static str {
        match self {
            Status::Unauthorized => {
                "WWW-Authenticate: Basic realm=\"annulet\", charset=\"UTF-8\"\r\n"
            }
            Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            Status::Unavailable => "Retry-After: 1\r\n",
            _ => "",
        }
    }
}

/// The content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Plain,
    /// The text exposition format of Prometheus.
    Exposition,
    Json,
    Page,
    Style,
    Script,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Media::Plain => "text/plain; charset=utf-8",
            Media::Exposition => "text/plain; version=0.0.4; charset=utf-8",
            Media::Json => "application/json",
            Media::Page => "text/html; charset=utf-8",
            Media::Style => "text/css; charset=utf-8",
            Media::Script => "text/javascript; charset=utf-8",
        }
    }

    /// Returns the content security policy. The page may load style, script and figures only from
    /// its own server, and must not be framed. Other responses may load nothing.
    fn policy(self) -> &'static str {
        match self {
            Media::Page => {
                "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                 img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            }
            _ => "default-src 'none'; frame-ancestors 'none'",
        }
    }
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: Status,
    pub(super) media: Media,
    pub(super) body: Cow<'static, str>,
}

impl Response {
    /// Creates a successful response with a body.
    pub(super) fn new(media: Media, body: impl Into<Cow<'static, str>>) -> Response {
        Response { status: Status::Ok, media, body: body.into() }
    }

    /// Creates a response whose body is only the status.
    pub(super) fn of(status: Status) -> Response {
        let body = format!("{}\n", status.line()).into();
        Response { status, media: Media::Plain, body }
    }

    /// Creates a response with a status and a text for people.
    pub(super) fn saying(status: Status, text: impl Into<Cow<'static, str>>) -> Response {
        Response { status, media: Media::Plain, body: text.into() }
    }

    /// Returns the bytes on the wire. For HEAD they omit the body, but still give its length.
    pub(super) fn bytes(&self, has_body: bool, keeps_alive: bool) -> Vec<u8> {
        let mut text = String::with_capacity(512 + if has_body { self.body.len() } else { 0 });
        let connection = if keeps_alive { "keep-alive" } else { "close" };
        write!(
            text,
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Referrer-Policy: no-referrer\r\nContent-Security-Policy: {}\r\n{}\r\n",
            self.status.line(),
            self.media.name(),
            self.body.len(),
            self.media.policy(),
            self.status.headers(),
        )
        .expect("writing to memory does not fail");
        if has_body {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_have_one_head_and_one_body() {
        let response = Response::new(Media::Json, "{}");
        let text = String::from_utf8(response.bytes(true, true)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "{}");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"));
        assert!(head.contains("\r\nContent-Length: 2\r\nConnection: keep-alive\r\n"), "{head}");
        let without = String::from_utf8(response.bytes(false, true)).unwrap();
        assert_eq!(without, format!("{head}\r\n\r\n"));
        let refused = Response::of(Status::Unauthorized).bytes(true, false);
        let refused = String::from_utf8(refused).unwrap();
        assert!(refused.contains("\r\nWWW-Authenticate: Basic realm=\"annulet\""), "{refused}");
        assert!(refused.contains("\r\nConnection: close\r\n"));
        assert!(refused.ends_with("\r\n\r\n401 Unauthorized\n"));
    }
}
