//! The rules inside the folders whose files form one object (`shard::Shard`, and
//! `partition::Partition`): inner layers, no circles, small files and structs.
//!
//! The graph consists of the `use` declarations between files. Calls of methods of the object are
//! not in it.

use super::{identifier, report, rust_files, without_comments};

/// The layers inside folders whose files form one object, from the lowest. A file is named by its
/// path below the folder; a name that ends with a slash stands for all other files of a folder. A
/// file may use files of its own and of lower layers.
const INNER_LAYERS: &[(&str, &[&[&str]])] =
    &[("shard", SHARD_LAYERS), ("partition", PARTITION_LAYERS)];

const SHARD_LAYERS: &[&[&str]] = &[
    &["intake", "limits"],
    // The parts of the struct.
    &[
        "blocking/mod",
        "connections/clients",
        "connections/mod",
        "connections/subscribers",
        "connections/table",
        "connections/trackers",
        "local/gather",
        "remote/mod",
        "replication/mod",
        "schedule",
        "telemetry/large",
        "telemetry/mod",
        "transaction/mod",
        "transaction/moving",
        "transaction/offload",
        "transaction/planned",
        "transaction/sliced",
    ],
    // The struct. All other files have methods of it.
    &["state"],
    &["connections/"],
    &["telemetry/"],
    &["remote/"],
    &["transaction/"],
    &["replication/"],
    &["blocking/"],
    &["local/"],
    &["cron", "load", "memory", "requests", "settings"],
    &["turn"],
];

const PARTITION_LAYERS: &[&[&str]] = &[
    &["message", "timing"],
    // The parts of the struct.
    &[
        "absence",
        "deferred",
        "env",
        "journal",
        "leaving",
        "part_job",
        "slices",
        "tools",
        "unfinished",
    ],
    // The struct. All other files have methods of it.
    &["partition"],
    &[
        "berth",
        "events",
        "handover",
        "housekeeping",
        "outgoing",
        "persistence",
        "propagate",
        "run",
        "served",
        "tracking",
        "watch",
    ],
    &[
        "blocking",
        "cut",
        "eviction",
        "local",
        "locks",
        "moved",
        "offload",
        "parts",
        "requests",
        "scripts",
        "sliced_part",
        "survey",
        "walks",
    ],
];

/// `use` declarations that point up, and thereby close circles, as (file, used file). The list may
/// only shrink.
const UPWARD_USES: &[(&str, &str)] = &[];

/// Largest number of lines of a file in the folders of [`INNER_LAYERS`].
const INNER_FILE_LINES_MAX: usize = 500;

/// Largest number of fields of a struct in the folders of [`INNER_LAYERS`].
const STRUCT_FIELDS_MAX: usize = 20;

/// Adds the paths of a `use` tree to `paths`, with its groups expanded.
fn expand_use(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((base, group)) = tree.split_once('{') else {
        return paths.push(format!("{prefix}{tree}"));
    };
    let group = group.strip_suffix('}').expect("a group is closed");
    let (mut depth, mut start) = (0, 0);
    let prefix = format!("{prefix}{base}");
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if start < at {
                    expand_use(&prefix, &group[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Returns the paths of all `use` declarations, with groups expanded.
fn use_paths(text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut paths = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        rest = &rest[at + "use ".len()..];
        if line.is_empty() || line.starts_with("pub") {
            let (tree, after) = rest.split_once(';').expect("a declaration ends");
            let tree: String = tree.split_whitespace().collect();
            expand_use("", &tree, &mut paths);
            rest = after;
        }
    }
    paths
}

/// Returns the files that a file uses by `use` declarations, among `files`. A path leads to the
/// file of its last module, not to the file of an item that this module exports again.
fn used_files<'f>(path: &str, text: &str, files: &'f [(String, String)]) -> Vec<&'f str> {
    let module = path.trim_start_matches("src/").trim_end_matches(".rs");
    let module: Vec<&str> = module.trim_end_matches("/mod").split('/').collect();
    let mut used = Vec::new();
    for declared in use_paths(text) {
        let mut target = module.clone();
        for (at, segment) in declared.split("::").enumerate() {
            match segment {
                "crate" => target.clear(),
                "self" if at == 0 => {}
                "super" => target.truncate(target.len() - 1),
                _ => target.push(segment),
            }
        }
        let names = (1..=target.len()).rev().map(|len| format!("src/{}", target[..len].join("/")));
        let is_file = |file: &&str, name: &str| {
            file.strip_prefix(name).is_some_and(|end| end == ".rs" || end == "/mod.rs")
        };
        let all = || files.iter().map(|(file, _)| file.as_str());
        let found = names.into_iter().find_map(|name| all().find(|file| is_file(file, &name)));
        used.extend(found.filter(|found| *found != path && !used.contains(found)));
    }
    used
}

/// Whether a file has items besides modules and `use` declarations.
fn has_items(text: &str) -> bool {
    const ITEMS: &[&str] = &["struct", "enum", "fn", "impl", "const", "static", "type", "trait"];
    text.lines().any(|line| {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        !line.starts_with(' ') && words.next().is_some_and(|word| ITEMS.contains(&identifier(word)))
    })
}

/// Returns the `use` declarations between the files of a folder of `src/`. Files that only declare
/// modules are left out.
fn inner_uses(files: &[(String, String)]) -> Vec<(&str, &str)> {
    let from = files.iter().filter(|(_, text)| has_items(text));
    let uses = |(path, text): &'_ (String, String)| -> Vec<(&str, &str)> {
        let path = files.iter().map(|(file, _)| file.as_str()).find(|file| file == path);
        let path = path.expect("the file is one of them");
        used_files(path, text, files).into_iter().map(|used| (path, used)).collect()
    };
    from.flat_map(uses).collect()
}

/// Returns the uses that are part of circles, or lie between two circles.
fn circular<'u>(mut uses: Vec<(&'u str, &'u str)>) -> Vec<(&'u str, &'u str)> {
    loop {
        let before = uses.len();
        let all = uses.clone();
        uses.retain(|(from, to)| {
            all.iter().any(|(other, _)| other == to) && all.iter().any(|(_, other)| other == from)
        });
        if uses.len() == before {
            return uses;
        }
    }
}

#[test]
fn files_of_one_object_use_each_other_without_circles() {
    let mut findings = Vec::new();
    for (folder, _) in INNER_LAYERS {
        let files = rust_files(&[&format!("src/{folder}")]);
        let mut uses = inner_uses(&files);
        uses.retain(|used| !UPWARD_USES.contains(used));
        let circles = circular(uses).into_iter();
        findings.extend(circles.map(|(from, to)| format!("{from} uses {to}, in a circle")));
    }
    report(findings);
}

/// Returns the inner layer of a file, by its path below the folder without `.rs`.
fn inner_layer(layers: &[&[&str]], name: &str) -> Option<usize> {
    let place = |fits: &dyn Fn(&str) -> bool| {
        layers.iter().position(|layer| layer.iter().any(|listed| fits(listed)))
    };
    let is_inside = |listed: &str| listed.ends_with('/') && name.starts_with(listed);
    place(&|listed| listed == name).or_else(|| place(&is_inside))
}

#[test]
fn uses_inside_an_object_point_down() {
    let mut findings = Vec::new();
    let mut upward = Vec::new();
    for (folder, layers) in INNER_LAYERS {
        let files = rust_files(&[&format!("src/{folder}")]);
        let name = |path: &str| {
            let inside = path.trim_start_matches("src/").trim_start_matches(folder);
            inside.trim_start_matches('/').trim_end_matches(".rs").to_string()
        };
        for (path, _) in files.iter().filter(|(_, text)| has_items(text)) {
            if inner_layer(layers, &name(path)).is_none() {
                findings.push(format!("{path} has no layer inside of {folder}"));
            }
        }
        for (from, to) in inner_uses(&files) {
            if inner_layer(layers, &name(to)) > inner_layer(layers, &name(from)) {
                upward.push((from.to_string(), to.to_string()));
            }
        }
    }
    let listed = UPWARD_USES.iter().map(|(from, to)| (from.to_string(), to.to_string()));
    let listed: Vec<_> = listed.collect();
    let new = upward.iter().filter(|used| !listed.contains(used));
    findings.extend(new.map(|(from, to)| format!("{from} uses {to}, which is higher")));
    let gone = listed.iter().filter(|used| !upward.contains(used));
    findings.extend(gone.map(|used| format!("{used:?} is gone: remove it from UPWARD_USES")));
    report(findings);
}

/// Returns the name and the number of fields of each struct, as laid out by rustfmt.
fn structs(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        let (Some("struct"), Some(name)) = (words.next(), words.next()) else { continue };
        if line.ends_with('{') {
            let indent = &line[..line.len() - line.trim_start().len()];
            let body = lines[at + 1..].iter().take_while(|line| **line != format!("{indent}}}"));
            let is_field = |line: &&&str| {
                let field = line.strip_prefix(indent).and_then(|line| line.strip_prefix("    "));
                let is_code = |field: &str| !field.starts_with(['/', '#', ' ', '}', ')']);
                field.is_some_and(|field| is_code(field) && field.contains(':'))
            };
            found.push((identifier(name), body.filter(is_field).count()));
        }
    }
    found
}

#[test]
fn parts_of_one_object_are_small() {
    let mut findings = Vec::new();
    for (folder, _) in INNER_LAYERS {
        for (path, text) in rust_files(&[&format!("src/{folder}")]) {
            let lines = text.lines().count();
            if lines > INNER_FILE_LINES_MAX {
                findings.push(format!("{path}: {lines} lines"));
            }
            for (name, fields) in structs(&text) {
                if fields > STRUCT_FIELDS_MAX {
                    findings.push(format!("{path}: {name} has {fields} fields"));
                }
            }
        }
    }
    report(findings);
}

#[test]
fn the_scan_for_circles_sees_groups_modules_and_circles() {
    let paths =
        use_paths("// use no::line;\npub use a::{\n    b::{c, d},\n    e,\n};\nuse f::*;\n");
    assert_eq!(paths, ["a::b::c", "a::b::d", "a::e", "f::*"]);
    let file = |path: &str, text: &str| (path.to_string(), text.to_string());
    let files = [
        file("src/x/a.rs", "use super::b::B;\nuse crate::x::c::{C, D};\nfn f() {}\n"),
        file("src/x/b.rs", "use super::c;\nstruct B {\n    /// A: b\n    a: u8,\n    b: u8,\n}\n"),
        file("src/x/c/d.rs", "use crate::x::a::A;\nuse crate::y::a;\nfn f() {}\n"),
        file("src/x/c/mod.rs", "mod d;\nuse d::D;\nconst C: u8 = 0;\n"),
        file("src/x/mod.rs", "mod a;\nuse a::A;\n"),
    ];
    let uses = inner_uses(&files);
    let (a, b, c, d) = ("src/x/a.rs", "src/x/b.rs", "src/x/c/mod.rs", "src/x/c/d.rs");
    assert_eq!(uses, [(a, b), (a, c), (b, c), (d, a), (c, d)]);
    assert_eq!(circular(uses.clone()), uses);
    assert_eq!(circular(uses.into_iter().filter(|used| *used != (c, d)).collect()), []);
    assert_eq!(structs(&files[1].1), [("B", 2)]);
    let layers: &[&[&str]] = &[&["c/mod"], &["c/", "a"]];
    assert_eq!(inner_layer(layers, "c/mod"), Some(0));
    assert_eq!(inner_layer(layers, "c/d"), Some(1));
    assert_eq!(inner_layer(layers, "b"), None);
}
