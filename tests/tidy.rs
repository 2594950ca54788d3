//! The rules of the source tree, checked as text: layers, lengths, the fence around `unsafe`,
//! captions, words, the top level, benches.
//!
//! What breaks a rule today is listed beside the rule with its present size, and may only shrink:
//! a smaller one fails too, until the list says so.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src/` by layer. A folder may use those of lower layers; those of its own layer
/// it does not see. A folder that is not listed may not exist; one that is listed may be missing.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["io", "resp", "value", "spec", "config", "observe", "acl"],
    &["net", "control", "keyspace", "rdb"],
    &["exec"],
    &["mesh", "gate"],
    &["txn", "pubsub", "script", "feed", "snapshot"],
    &["replica"],
    &["cluster"],
    &["commands"],
    &["client", "http", "partition"],
    &["shard"],
    &["server", "sentinel"],
];

/// Files that lie in `src/` itself. They stand above all layers.
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

/// Files with lines longer than [`LINE_CHARS_MAX`]: file, how many such lines, the longest.
const LONG_LINES: &[(&str, usize, usize)] = &[];

/// Where `unsafe` may stand, as beginnings of paths.
const UNSAFE_FENCE: &[&str] = &[
    "src/base/",
    "src/io/uring/",
    "src/io/epoll/",
    "src/io/sockets.rs",
    "src/value/",
    "src/keyspace/table/",
];

/// Lines above an unsafe block in which its SAFETY comment begins.
const SAFETY_LINES_MAX: usize = 8;

/// Files without a caption.
const WITHOUT_CAPTION: &[&str] = &[];

/// Folders that may know everything below them, or that hold tests.
const WITHOUT_MUST_NOT: &[&str] = &["src/io/tests/mod.rs", "src/server/mod.rs", "src/shard/mod.rs"];

/// What the top level may hold, besides names that begin with a dot and the build's `target`.
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
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
    ("sorted_set", "src/value/sorted_set/leaf.rs"),
    ("table", "src/keyspace/table/mod.rs"),
];

/// Calls that no finished code makes. Written in halves, so that this file passes.
const UNFINISHED: &[&str] =
    &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

/// Words that no file of the repository may hold: places of one machine, and notes to somebody.
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

/// Files that tools write, and that name package hosts.
const WRITTEN_BY_TOOLS: &[&str] = &["Cargo.lock"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` of the repository, sorted, as (path from the root, text). Files that
/// are not text are left out, as are hidden folders, `target` and folders that are not there.
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
        writeln!(text, "  {finding}").expect("a string takes all");
    }
    assert!(findings.is_empty(), "\n{text}");
}

/// Compares what was found beyond a bound with the list of what may be.
fn compare<K: PartialEq + std::fmt::Debug>(found: &[(K, usize)], listed: &[(K, usize)]) {
    let mut findings = Vec::new();
    for (what, size) in found {
        match listed.iter().find(|(name, _)| name == what) {
            None => findings.push(format!("{what:?}: {size} is too long")),
            Some((_, bound)) if size > bound => {
                findings.push(format!("{what:?}: {size} has grown, it was {bound}"));
            }
            Some((_, bound)) if size < bound => {
                findings.push(format!("{what:?}: {size} is shorter than listed: list it so"));
            }
            Some(_) => {}
        }
    }
    for (what, _) in listed {
        if !found.iter().any(|(name, _)| name == what) {
            findings.push(format!("{what:?} is within the bound now: strike it from the list"));
        }
    }
    report(findings);
}

fn layer_of(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

/// The name at the start of `text`.
fn identifier(text: &str) -> &str {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).next().unwrap_or_default()
}

/// The first names of a path after `crate::`: one, or those of a group in braces.
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

/// The text with every line that is only a comment emptied.
fn without_comments(text: &str) -> String {
    let keep = |line: &'_ str| !line.trim_start().starts_with("//");
    text.lines().map(|line| if keep(line) { line } else { "" }).collect::<Vec<_>>().join("\n")
}

/// The folders of `src/` that the text of `path` names, by paths from the crate's root or by
/// climbing there, each with the line.
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
                findings.push(format!("{path}: only {TOP_FILES:?} lie in src itself"));
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
                None => findings.push(format!("{path}:{line}: crate::{name} is no folder")),
            }
        }
    }
    report(findings);
}

#[test]
fn the_scan_for_paths_sees_groups_and_climbs() {
    let names = |text| folders_named("src/gate/route.rs", text);
    assert_eq!(names("use crate::exec::Run;"), [(1, "exec")]);
    assert_eq!(names("\nuse crate::{base::{a, b}, exec};"), [(2, "base"), (2, "exec")]);
    assert_eq!(names("use crate::{\n    mesh::Port,\n};"), [(1, "mesh")]);
    assert_eq!(names("super::super::shard::Shard"), [(1, "shard")]);
    assert_eq!(names("super::Admission; $crate_other::x; my_crate::shard::x"), []);
}

/// Name, line and number of lines of each function that rustfmt has laid out.
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
fn no_file_knows_where_or_by_whom_it_was_made() {
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

#[test]
fn the_top_level_is_what_it_should_be() {
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
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("there is a manifest");
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
