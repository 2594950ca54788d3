//! Tests of the parser against a table of replies of the reference server.

use super::*;

const OPEN: Limits = Limits { bulk_len_max: 512 << 20, authenticated: true };
const CLOSED: Limits = Limits { authenticated: false, ..OPEN };

/// Commands, or the text of an error after "Protocol error: ".
type Expected<'a> = Result<&'a [&'a [&'a str]], &'a str>;

/// Parses bytes that arrive in pieces of `piece` bytes. Returns the commands or the error.
fn outcome(bytes: &[u8], limits: &Limits, piece: usize) -> Result<Vec<Vec<Vec<u8>>>, String> {
    let (mut text, mut large) = (Vec::new(), Vec::new());
    let (mut parser, mut start, mut commands) = (Parser::default(), 0, Vec::new());
    for piece in bytes.chunks(piece) {
        let taken = parser.fill(&mut large, piece);
        text.extend_from_slice(&piece[taken..]);
        let mut spans = Vec::new();
        let error =
            |error: ProtocolError| String::from_utf8_lossy(&error.text()).replace("ERR ", "");
        while let Some(parsed) =
            parser.command(&mut text, start, &mut large, limits, &mut spans).map_err(error)?
        {
            start = parsed.end;
            let word = |span: &Span| match span.large_index() {
                Some(index) => large[index].to_vec(),
                None => text[span.start()..span.start() + span.len()].to_vec(),
            };
            if parsed.argc > 0 {
                commands.push(spans.iter().map(word).collect());
            }
            assert_eq!(spans.len(), parsed.argc);
            spans.clear();
        }
        assert!(spans.is_empty(), "an incomplete command leaves no words");
    }
    Ok(commands)
}

fn check(bytes: &[u8], limits: &Limits, expected: Expected) {
    let expected: Result<Vec<Vec<Vec<u8>>>, String> = match expected {
        Ok(commands) => Ok(commands
            .iter()
            .map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect())
            .collect()),
        Err(text) => Err(format!("Protocol error: {text}")),
    };
    let pieces: &[usize] = if bytes.len() > 1_000 { &[1 << 20, 1_000] } else { &[1 << 20, 1, 3] };
    for &piece in pieces {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
        assert_eq!(outcome(bytes, limits, piece), expected, "{shown:?} in pieces of {piece}");
    }
}

#[test]
fn replies_of_the_reference() {
    let ping: &[&[&str]] = &[&["PING"]];
    let long = "x".repeat(LINE_BYTES_MAX + 64);
    let cases: &[(&str, Expected)] = &[
        ("*3\r\n", Ok(&[])),
        ("*1\r\n$4\r\nPING\r\n", Ok(ping)),
        ("*-5\r\n*1\r\n$4\r\nPING\r\n", Ok(ping)),
        ("*0\r\n*1\r\n$4\r\nPING\r\n", Ok(ping)),
        ("\r\n\n*1\r\n$4\r\nPING\r\n", Ok(ping)),
        ("  \r\n*1\r\n$4\r\nPING\r\n", Ok(ping)),
        ("PING\n", Ok(ping)),
        ("PING\r\n", Ok(ping)),
        ("*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", Ok(&[&["", "\r\n"]])),
        ("*1\r\n$1\r\n$\r\n", Ok(&[&["$"]])),
        ("echo \"a\"b\r\n", Ok(&[&["echo", "ab"]])),
        ("echo a\0b\r\n", Ok(&[])),
        ("*x\r\n", Err("invalid multibulk length")),
        ("*\r\n", Err("invalid multibulk length")),
        ("*01\r\n", Err("invalid multibulk length")),
        ("*+1\r\n", Err("invalid multibulk length")),
        ("*1111111111x\r\n", Err("invalid multibulk length")),
        ("*2147483648\r\n", Err("invalid multibulk length")),
        ("*2147483647\r\n", Ok(&[])),
        ("*1\r\nx\r\n", Err("expected '$', got 'x'")),
        ("*1\r\n\0\r\n", Err("expected '$', got '\0'")),
        ("*1\r\n\r\n", Err("expected '$', got ' '")),
        ("*1\r\n\nx\r\n", Err("expected '$', got ' '")),
        ("*1\r\n\r\r\n", Err("expected '$', got ' '")),
        ("*1\r\n$x\r\n", Err("invalid bulk length")),
        ("*1\r\n$-1\r\n", Err("invalid bulk length")),
        ("*1\r\n$04\r\nPING\r\n", Err("invalid bulk length")),
        ("*1\r\n$536870913\r\n", Err("invalid bulk length")),
        ("*1\r\n$4\r\nPINGxx", Err("invalid CRLF in request")),
        ("*1\rx", Err("invalid CRLF in request")),
        ("*1\r\n$1\rx", Err("invalid CRLF in request")),
        ("echo \"abc\r\n", Err("unbalanced quotes in request")),
        (&long, Err("too big inline request")),
        (&format!("*{long}"), Err("too big mbulk count string")),
        (&format!("*1\r\n${long}"), Err("too big bulk count string")),
        (&format!("*1\r\n{long}"), Err("too big bulk count string")),
    ];
    for (bytes, expected) in cases {
        check(bytes.as_bytes(), &OPEN, *expected);
    }
    assert_eq!(ProtocolError::Unexpected(0xff).text().last_chunk(), Some(b"'\xff'"));
}

#[test]
fn limits_before_authentication() {
    let cases: &[(&str, Expected)] = &[
        ("*10\r\n$16384\r\n", Ok(&[])),
        ("*-20\r\n", Ok(&[])),
        ("*11\r\n", Err("unauthenticated multibulk length")),
        ("*1\r\n$16385\r\n", Err("unauthenticated bulk length")),
        ("*2147483648\r\n", Err("invalid multibulk length")),
        ("*1\r\n$536870913\r\n", Err("invalid bulk length")),
    ];
    for (bytes, expected) in cases {
        check(bytes.as_bytes(), &CLOSED, *expected);
    }
    let eleven = format!("*11\r\n{}", "$1\r\na\r\n".repeat(11));
    check(eleven.as_bytes(), &CLOSED, Err("unauthenticated multibulk length"));
    let wide = format!("*1\r\n$16385\r\n{}\r\n", "a".repeat(16_385));
    check(wide.as_bytes(), &CLOSED, Err("unauthenticated bulk length"));
}

#[test]
fn large_words_get_buffers_of_exactly_their_size() {
    for len in [LARGE_WORD_BYTES, RESERVE_BYTES_MAX + 5, 5 * RESERVE_BYTES_MAX] {
        let (mut text, mut large, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        let mut parser = Parser::default();
        text.extend_from_slice(format!("*2\r\n$4\r\nECHO\r\n${len}\r\nab").as_bytes());
        assert_eq!(parser.command(&mut text, 0, &mut large, &OPEN, &mut spans), Ok(None));
        assert!(parser.is_filling() && !text.ends_with(b"ab"));
        assert!(large[0].capacity() <= RESERVE_BYTES_MAX);
        let word = vec![b'c'; len - 2];
        for piece in word.chunks(10_000) {
            assert_eq!(parser.fill(&mut large, piece), piece.len());
            assert!(large[0].capacity() <= RESERVE_BYTES_MAX.max(4 * large[0].len()));
        }
        assert_eq!(parser.fill(&mut large, b"\r\n"), 0);
        text.extend_from_slice(b"\r\n");
        let parsed = parser.command(&mut text, 0, &mut large, &OPEN, &mut spans);
        assert_eq!(parsed, Ok(Some(Parsed { argc: 2, end: text.len() })));
        assert_eq!(spans[1], Span::large(0, len));
        assert_eq!((large[0].len(), large[0].capacity()), (len, len));
    }
}

#[test]
fn a_large_word_may_arrive_with_half_of_its_line_end() {
    let word = "v".repeat(LARGE_WORD_BYTES);
    let bytes = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{word}\r\n", word.len());
    let head = bytes.len() - word.len() - 2;
    for cut in [head, head + 1, bytes.len() - 3, bytes.len() - 2, bytes.len() - 1, bytes.len()] {
        let expected = vec![vec![b"ECHO".to_vec(), word.clone().into_bytes()]];
        assert_eq!(outcome(bytes.as_bytes(), &OPEN, cut), Ok(expected), "cut at {cut}");
    }
}
