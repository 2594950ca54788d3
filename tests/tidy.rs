//! The rules of the source tree, checked as text: layers, lengths, the fence around `unsafe`,
//! captions, words, the top level, benches.
//!
//! Violations that exist today are listed next to the rule with their size, and may only shrink. A
//! smaller one fails too, until the list is updated.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/inner.rs"]
mod inner;

/// The folders of `src/` by layer. A folder may use folders of lower layers, but not of its own. A
/// folder outside the list must not exist; a listed one may be missing.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["io", "resp", "value", "spec", "config", "observe"],
    &["acl", "net", "cluster", "control", "keyspace", "rdb", "pubsub", "script"],
    &["exec"],
    &["mesh", "gate"],
    &["txn", "feed", "snapshot"],
    &["replica", "aof"],
    &["commands"],
    &["client", "http", "partition"],
    &["shard"],
    &["server", "sentinel"],
];

/// Files directly in `src/`. They may use all layers.
const TOP_FILES: &[&str] = &["lib.rs", "main.rs"];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 100;

/// Functions longer than [`FUNCTION_LINES_MAX`]: file, name, lines.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[
    ("src/keyspace/tests.rs", "step", 71),
    ("src/resp/error.rs", "fixed", 75),
    ("tests/fuzz.rs", "write_value", 77),
];

/// Files longer than [`FILE_LINES_MAX`] without their tests: file, lines.
const LONG_FILES: &[(&str, usize)] = &[];

/// Files with lines longer than [`LINE_CHARS_MAX`]: file, number of these lines, length of the
/// longest.
const LONG_LINES: &[(&str, usize, usize)] = &[];

/// Where `unsafe` is allowed, as beginnings of paths.
const UNSAFE_FENCE: &[&str] = &[
    "src/base/",
    "src/io/uring/",
    "src/io/epoll/",
    "src/io/sockets.rs",
    "src/value/",
    "src/keyspace/table/",
    "src/script/machine/",
];

/// Largest number of lines between an unsafe block and the start of its SAFETY comment.
const SAFETY_LINES_MAX: usize = 8;

/// Files without a caption.
const WITHOUT_CAPTION: &[&str] = &[];

/// Folders that may use all lower layers, or that hold tests.
const WITHOUT_MUST_NOT: &[&str] = &["src/io/tests/mod.rs", "src/server/mod.rs", "src/shard/mod.rs"];

/// Allowed names at the top level, besides names that begin with a dot and the build's `target`.
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "deny.toml",
    "scripts",
    "src",
    "target",
    "tests",
    "tuning",
];

/// Each bench, and the hot file (or folder) that it guards.
const BENCHES: &[(&str, &str)] = &[
    ("bits", "src/value/bits.rs"),
    ("dense", "src/value/dense/page.rs"),
    ("echo", "src/io/uring/mod.rs"),
    ("grow", "src/keyspace/table/directory.rs"),
    ("inbox", "src/mesh/inbox.rs"),
    ("parser", "src/resp/parse.rs"),
    ("reply", "src/resp/reply.rs"),
    ("script", "src/script/vm.rs"),
    ("sorted_set", "src/value/sorted_set/leaf.rs"),
    ("table", "src/keyspace/table/mod.rs"),
];

/// Calls that finished code does not contain. Split in two, so that this file passes.
const UNFINISHED: &[&str] =
    &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

/// Words that no file of the repository may contain: paths of one machine, and notes to a reader.
const FORBIDDEN_WORDS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("crates", ".io"),
    concat!("TODO", " by"),
    concat!("TODO", "("),
    concat!("FIX", "ME"),
    concat!("<<<<", "<<<"),
];

/// Beginnings of sentences in comments and Markdown that leave the reader to find the subject
/// elsewhere.
const UNCLEAR_BEGINNINGS: &[&str] = &[
    "The same, ",
    "The same as ",
    "The same at ",
    "The same but ",
    "The same by ",
    "The same for ",
    "The same from ",
    "The same if ",
    "The same in ",
    "The same of ",
    "The same on ",
    "The same over ",
    "The same under ",
    "The same when ",
    "The same where ",
    "The same with ",
    "The same without ",
];

/// Phrases that comments and Markdown must not contain: they hide a noun, or were coined here for
/// something that has a name. Small letters; a phrase consists of whole words.
const UNCLEAR_PHRASES: &[&str] = &[
    "baton",
    "comes upon",
    "is given to be",
    "is to be had",
    "of which",
    "of whom",
    "parcel",
    "parcels",
    "so many",
    "so much",
    "that of",
    "the house",
    "those that",
    "those who",
    "those whose",
    "to be had",
    "to whom",
    "untold",
    "what is to be",
    "whoever",
    "whom",
    "workshop",
];

/// Beginnings of the paths whose comments and Markdown may still have unclear phrases. The list may
/// only shrink: an entry without unclear phrases fails.
const UNCLEAR_YET: &[&str] = &[];

/// Files written by tools, which contain package hosts.
const WRITTEN_BY_TOOLS: &[&str] = &["Cargo.lock"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns all text files below `folder` of the repository, sorted, as (path from the root, text).
/// Other files, hidden folders, `target` and missing folders are left out.
fn files_below(folder: &str) -> Vec<(String, String)> {
    let mut folders = vec![root().join(folder)];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().expect("entries have names").to_string_lossy();
            let is_kept = !name.starts_with(".git") || name == ".gitignore";
            if path.is_dir() && is_kept && !path.ends_with("target") {
                folders.push(path);
            } else if path.is_file() && is_kept {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let name = |path: &Path| {
        let inside = path.strip_prefix(root()).expect("found below the root");
        inside.to_str().expect("names are text").to_string()
    };
    let read = |path: PathBuf| Some((name(&path), fs::read_to_string(&path).ok()?));
    paths.into_iter().filter_map(read).collect()
}

fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let all = folders.iter().flat_map(|folder| files_below(folder));
    all.filter(|(path, _)| path.ends_with(".rs")).collect()
}

fn all_rust_files() -> Vec<(String, String)> {
    rust_files(&["src", "tests", "benches"])
}

/// Fails with all findings at once.
fn report(findings: Vec<String>) {
    let mut text = String::new();
    for finding in &findings {
        writeln!(text, "  {finding}").expect("writing to a string does not fail");
    }
    assert!(findings.is_empty(), "\n{text}");
}

/// Compares the sizes beyond a bound with the listed ones.
fn compare<K: PartialEq + std::fmt::Debug>(found: &[(K, usize)], listed: &[(K, usize)]) {
    let mut findings = Vec::new();
    for (what, size) in found {
        match listed.iter().find(|(name, _)| name == what) {
            None => findings.push(format!("{what:?}: {size} is too long")),
            Some((_, bound)) if size > bound => {
                findings.push(format!("{what:?}: {size} has grown, it was {bound}"));
            }
            Some((_, bound)) if size < bound => {
                findings.push(format!("{what:?}: {size} is shorter than listed: update the list"));
            }
            Some(_) => {}
        }
    }
    for (what, _) in listed {
        if !found.iter().any(|(name, _)| name == what) {
            findings.push(format!("{what:?} is within the bound now: remove it from the list"));
        }
    }
    report(findings);
}

fn layer_of(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

/// Returns the identifier at the start of `text`.
fn identifier(text: &str) -> &str {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).next().unwrap_or_default()
}

/// Returns the first names of a path after `crate::`: one, or the names of a group in braces.
fn first_names(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let mut names = Vec::new();
    let (mut depth, mut is_start) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    names
}

/// Returns the text with all comment lines emptied.
fn without_comments(text: &str) -> String {
    let keep = |line: &'_ str| !line.trim_start().starts_with("//");
    text.lines().map(|line| if keep(line) { line } else { "" }).collect::<Vec<_>>().join("\n")
}

/// Returns the folders of `src/` that the text of `path` names, by `crate::` or `super::` paths,
/// each with its line.
fn folders_named<'a>(path: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let mut named = Vec::new();
    for (at, matched) in text.match_indices("crate::") {
        let is_whole = !text[..at].ends_with(|c: char| c.is_alphanumeric() || "_$".contains(c));
        if is_whole {
            let names = first_names(&text[at + matched.len()..]);
            named.extend(names.into_iter().map(|name| (line_of(at), name)));
        }
    }
    let depth = path.trim_end_matches("/mod.rs").matches('/').count();
    for (at, climb) in text.match_indices(&"super::".repeat(depth)) {
        let name = identifier(&text[at + climb.len()..]);
        if layer_of(name).is_some() {
            named.push((line_of(at), name));
        }
    }
    named
}

#[test]
fn paths_point_down() {
    let mut findings = Vec::new();
    for (path, text) in rust_files(&["src"]) {
        let inside = path.strip_prefix("src/").expect("below src");
        let Some((folder, _)) = inside.split_once('/') else {
            if !TOP_FILES.contains(&inside) {
                findings.push(format!("{path}: only {TOP_FILES:?} may be directly in src"));
            }
            continue;
        };
        let Some(layer) = layer_of(folder) else {
            findings.push(format!("{path}: the folder {folder} has no layer"));
            continue;
        };
        let code = without_comments(&text);
        for (line, name) in folders_named(&path, &code) {
            match layer_of(name) {
                Some(other) if other < layer || name == folder => {}
                Some(other) => findings.push(format!(
                    "{path}:{line}: {folder} (layer {layer}) uses {name} (layer {other})"
                )),
                None => findings.push(format!("{path}:{line}: crate::{name} is not a folder")),
            }
        }
    }
    report(findings);
}

#[test]
fn the_scan_for_paths_sees_groups_and_super() {
    let names = |text| folders_named("src/gate/route.rs", text);
    assert_eq!(names("use crate::exec::Run;"), [(1, "exec")]);
    assert_eq!(names("\nuse crate::{base::{a, b}, exec};"), [(2, "base"), (2, "exec")]);
    assert_eq!(names("use crate::{\n    mesh::Port,\n};"), [(1, "mesh")]);
    assert_eq!(names("super::super::shard::Shard"), [(1, "shard")]);
    assert_eq!(names("super::Admission; $crate_other::x; my_crate::shard::x"), []);
}

/// Returns the name and the number of lines of each function, as laid out by rustfmt.
fn functions(text: &str) -> Vec<(&str, usize)> {
    const MODIFIERS: &[&str] =
        &["pub", "pub(crate)", "pub(super)", "const", "unsafe", "extern", "\"C\"", "async"];
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let mut words = line.split_whitespace().skip_while(|word| MODIFIERS.contains(word));
        let (Some("fn"), Some(name)) = (words.next(), words.next()) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_end = |line: &&str| line.strip_prefix(indent).is_some_and(|l| l.starts_with('}'));
        let is_declared = |line: &str| line.ends_with(';') || line.ends_with('}');
        if is_declared(line) {
            continue;
        }
        let len = lines[at..].iter().position(is_end).unwrap_or_default() + 1;
        found.push((identifier(name), len));
    }
    found
}

#[test]
fn functions_are_short() {
    let files = all_rust_files();
    let mut found = Vec::new();
    for (path, text) in &files {
        let long = functions(text).into_iter().filter(|(_, len)| *len > FUNCTION_LINES_MAX);
        found.extend(long.map(|(name, len)| ((path.as_str(), name), len)));
    }
    let listed = LONG_FUNCTIONS.iter().map(|(path, name, lines)| ((*path, *name), *lines));
    compare(&found, &listed.collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    let files = all_rust_files();
    let mut found = Vec::new();
    for (path, text) in &files {
        let is_tail = |line: &str| line.starts_with("#[cfg(test)]");
        let tail = text.lines().zip(text.lines().skip(1)).position(|(line, next)| {
            is_tail(line) && next.starts_with("mod ") && next.ends_with('{')
        });
        let len = tail.unwrap_or(text.lines().count());
        let is_test = path.ends_with("tests.rs") || path.ends_with("_tests.rs");
        if len > FILE_LINES_MAX && !is_test {
            found.push((path.as_str(), len));
        }
    }
    compare(&found, LONG_FILES);
}

#[test]
fn lines_are_short() {
    let files = all_rust_files();
    let mut found = Vec::new();
    for (path, text) in &files {
        let chars = text.lines().map(|line| line.chars().count());
        let long: Vec<usize> = chars.filter(|n| *n > LINE_CHARS_MAX).collect();
        if let Some(longest) = long.iter().max() {
            found.push(((path.as_str(), "lines"), long.len()));
            found.push(((path.as_str(), "longest"), *longest));
        }
    }
    let split = |&(path, lines, longest): &(&'static str, usize, usize)| {
        [((path, "lines"), lines), ((path, "longest"), longest)]
    };
    compare(&found, &LONG_LINES.iter().flat_map(split).collect::<Vec<_>>());
}

/// Whether the line has the keyword as a word, outside of comments.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c| !is_part(c)).any(|word| word == "unsafe")
}

#[test]
fn unsafe_code_is_fenced_and_explained() {
    let mut findings = Vec::new();
    for (path, text) in all_rust_files().iter().filter(|(path, _)| path != "tests/tidy.rs") {
        let lines: Vec<&str> = text.lines().collect();
        let opts_in = lines.iter().take(80).any(|line| *line == "#![allow(unsafe_code)]");
        let is_inside = UNSAFE_FENCE.iter().any(|fence| path.starts_with(fence));
        let has_any = lines.iter().any(|line| has_unsafe(line));
        if (has_any || text.contains("allow(unsafe_code)")) && !is_inside {
            findings.push(format!("{path}: unsafe code belongs in {UNSAFE_FENCE:?}"));
        }
        if has_any != opts_in {
            findings.push(format!("{path}: `#![allow(unsafe_code)]` where there is unsafe code"));
        }
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| has_unsafe(line)) {
            let above = &lines[at.saturating_sub(SAFETY_LINES_MAX)..=at];
            let is_explained = |line: &&str| line.contains("SAFETY:") || line.contains("# Safety");
            let is_promise = line.contains("unsafe fn(") || line.contains("unsafe extern");
            if !is_promise && !above.iter().any(is_explained) {
                findings.push(format!("{path}:{}: no SAFETY above it", at + 1));
            }
        }
    }
    report(findings);
}

#[test]
fn files_open_with_a_caption() {
    let mut without = Vec::new();
    for (path, text) in all_rust_files() {
        let first = text.lines().find(|line| !line.starts_with("#![") && !line.is_empty());
        if !first.is_some_and(|line| line.starts_with("//! ")) {
            without.push(path);
        }
    }
    assert_eq!(without, WITHOUT_CAPTION, "files without a caption, and the list of them");
}

#[test]
fn folders_say_what_they_must_not_know() {
    let files = rust_files(&["src"]);
    let modules = files.iter().filter(|(path, _)| path.ends_with("/mod.rs"));
    let says = |text: &str| {
        let mut caption = text.lines().filter(|line| line.starts_with("//!"));
        caption.any(|line| line.contains("Must not know"))
    };
    let without = modules.filter(|(_, text)| !says(text)).map(|(path, _)| path.as_str());
    assert_eq!(without.collect::<Vec<_>>(), WITHOUT_MUST_NOT);
}

#[test]
fn nothing_is_unfinished() {
    let mut findings = Vec::new();
    for (path, text) in all_rust_files() {
        for (at, line) in text.lines().enumerate() {
            if let Some(call) = UNFINISHED.iter().find(|call| line.contains(*call)) {
                findings.push(format!("{path}:{}: {call})", at + 1));
            }
        }
    }
    report(findings);
}

#[test]
fn files_contain_no_forbidden_words() {
    let mut findings = Vec::new();
    for (path, text) in files_below("") {
        if WRITTEN_BY_TOOLS.contains(&path.as_str()) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            if let Some(word) = FORBIDDEN_WORDS.iter().find(|word| line.contains(*word)) {
                findings.push(format!("{path}:{}: {word}", at + 1));
            }
        }
    }
    report(findings);
}

/// The text without its quoted parts: `"..."` on one line, and code between backticks.
fn without_quotes(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['"', '`']) {
        let quote = &rest[start..=start];
        let Some(len) = rest[start + 1..].find(quote) else { break };
        kept.push_str(&rest[..start]);
        kept.push_str("QUOTED");
        rest = &rest[start + 1 + len + 1..];
    }
    kept + rest
}

/// The comment of a line of Rust without its marker; `None` for a line without a comment.
fn comment_of(line: &str) -> Option<&str> {
    let (code, comment) = line.split_once("//")?;
    let is_quoted = code.matches('"').count() % 2 == 1 || code.ends_with(':');
    (!is_quoted).then(|| comment.trim_start_matches(['/', '!']).trim())
}

/// The paragraphs of prose in a file, each with the number of its first line: comments of Rust, or
/// Markdown outside of code blocks.
fn paragraphs(path: &str, text: &str) -> Vec<(usize, String)> {
    let is_rust = path.ends_with(".rs");
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut is_open, mut is_code) = (false, false);
    for (at, line) in text.lines().enumerate() {
        let prose = if is_rust { comment_of(line) } else { Some(line.trim()) };
        let prose = prose.unwrap_or_default();
        let is_fence = prose.starts_with("```");
        is_code ^= is_fence;
        if prose.is_empty() || is_fence || is_code {
            is_open = false;
            continue;
        }
        let is_trailing = is_rust && !line.trim_start().starts_with("//");
        let is_item = is_trailing || prose.starts_with("- ") || prose.starts_with("| ");
        match found.last_mut() {
            Some((_, paragraph)) if is_open && !is_item => *paragraph += &format!(" {prose}"),
            _ => found.push((at + 1, prose.to_string())),
        }
        is_open = !is_trailing;
    }
    found
}

/// The first unclear phrase of a paragraph.
fn unclear_phrase(paragraph: &str) -> Option<&'static str> {
    let text = without_quotes(paragraph);
    let is_start = |at: usize| {
        let before = text[..at].trim_end_matches([' ', '-', '|']);
        before.is_empty() || before.ends_with(['.', ':', ';'])
    };
    let begins = |start: &&&str| text.match_indices(**start).any(|(at, _)| is_start(at));
    if let Some(start) = UNCLEAR_BEGINNINGS.iter().find(begins) {
        return Some(start);
    }
    let is_end = |c: char| !c.is_alphanumeric() && c != '_' && c != '\'';
    let words: Vec<String> = text.to_lowercase().split(is_end).map(str::to_string).collect();
    let text = format!(" {} ", words.join(" "));
    UNCLEAR_PHRASES.iter().find(|phrase| text.contains(&format!(" {phrase} "))).copied()
}

#[test]
fn prose_has_no_unclear_phrases() {
    let mut findings = Vec::new();
    let mut exempt = vec![false; UNCLEAR_YET.len()];
    let files = files_below("").into_iter();
    for (path, text) in files.filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".md")) {
        for (line, paragraph) in paragraphs(&path, &text) {
            let Some(phrase) = unclear_phrase(&paragraph) else { continue };
            match UNCLEAR_YET.iter().position(|start| path.starts_with(start)) {
                Some(at) => exempt[at] = true,
                None => findings.push(format!("{path}:{line}: \"{phrase}\"")),
            }
        }
    }
    for (start, is_needed) in UNCLEAR_YET.iter().zip(exempt) {
        if !is_needed {
            findings.push(format!("{start} has none: remove it from UNCLEAR_YET"));
        }
    }
    report(findings);
}

#[test]
fn the_scan_for_phrases_sees_lines_words_and_quotes() {
    let first = |text: &str| paragraphs("a.rs", text).iter().find_map(|(_, p)| unclear_phrase(p));
    assert_eq!(first("/// The same\n/// for sets."), Some("The same for "));
    assert_eq!(first("/// Adds a member. The same with a score."), Some("The same with "));
    assert_eq!(first("/// The same members, whoever asks."), Some("whoever"));
    assert_eq!(first("let a = 1; // so\nlet b = 2; // many"), None);
    assert_eq!(first("//! Waits for\n//! those\n//! that wait."), Some("those that"));
    assert_eq!(first("/// Replies \"so many words\" or `whom`."), None);
    assert_eq!(first("/// Notes that often differ."), None);
    assert_eq!(first("let url = \"http://whom\";"), None);
    assert_eq!(first("/// ```text\n/// so many\n/// ```"), None);
}

#[test]
fn the_top_level_has_only_listed_names() {
    let mut findings = Vec::new();
    for entry in fs::read_dir(root()).expect("the root can be read") {
        let name = entry.expect("the root can be read").file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_ref()) {
            findings.push(format!("{name} does not belong at the top level"));
        }
    }
    report(findings);
}

#[test]
fn benches_guard_hot_files() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest exists");
    let mut findings = Vec::new();
    let benches = rust_files(&["benches"]);
    let stem = |path: &str| path.trim_start_matches("benches/").trim_end_matches(".rs").to_string();
    for name in benches.iter().map(|(path, _)| stem(path)) {
        if !manifest.contains(&format!("[[bench]]\nname = \"{name}\"\nharness = false\n")) {
            findings.push(format!("benches/{name}.rs has no [[bench]] entry"));
        }
        if !BENCHES.iter().any(|(listed, _)| *listed == name) {
            findings.push(format!("benches/{name}.rs guards no hot file: name it in BENCHES"));
        }
    }
    for (name, hot) in BENCHES {
        if !root().join(hot).exists() || !root().join(format!("benches/{name}.rs")).exists() {
            findings.push(format!("bench {name} or its hot file {hot} is missing"));
        }
    }
    for (path, text) in rust_files(&["src"]) {
        let caption: String = text.lines().filter(|line| line.starts_with("//!")).collect();
        for (at, mark) in caption.match_indices("bench `") {
            let name = identifier(&caption[at + mark.len()..]);
            if !BENCHES.iter().any(|(listed, _)| *listed == name) {
                findings.push(format!("{path} names the bench {name}, which does not exist"));
            }
        }
    }
    report(findings);
}
