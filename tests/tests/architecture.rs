//! The import table of ARCHITECTURE.md, held against the code of `host/src`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each room, and the rooms that it may use. What [`ROOT`] names is everybody's.
const TABLE: &[(&str, &[&str])] = &[
    ("hooks", &[]),
    ("clock", &[]),
    ("model", &[]),
    ("config", &[]),
    ("live", &["model"]),
    ("unix_socket", &[]),
    ("untaken", &[]),
    ("listening", &[]),
    ("fair", &[]),
    ("trust", &[]),
    ("files", &[]),
    ("tools", &["model"]),
    ("channels", &["model", "trust"]),
    ("store", &["model", "config"]),
    ("backup", &["config", "files", "store"]),
    ("sandbox", &["model", "config"]),
    ("vault", &["model", "config", "trust"]),
    ("gateway", &["model", "config", "store", "vault", "fair", "trust"]),
    ("router", &["model", "store"]),
    ("desk", &["model", "config", "store", "router", "channels", "files", "sandbox"]),
    ("switchboard", &["model", "config", "store", "channels", "desk", "gateway", "trust"]),
    ("pace", &["model", "channels"]),
    ("delivery", &["model", "store", "channels", "pace"]),
    ("progress", &["model", "live", "store", "channels", "pace"]),
    ("door", &["model", "store", "sandbox", "gateway", "trust"]),
    ("supervisor", &["model", "store", "sandbox", "door", "gateway", "live", "config", "files", "tools", "trust"]),
    (
        "admin",
        &[
            "desk",
            "switchboard",
            "fair",
            "model",
            "config",
            "live",
            "files",
            "tools",
            "channels",
            "store",
            "sandbox",
            "gateway",
            "vault",
            "router",
            "delivery",
            "door",
            "supervisor",
            "backup",
        ],
    ),
    (
        "daemon",
        &[
            "desk",
            "switchboard",
            "model",
            "config",
            "live",
            "files",
            "tools",
            "channels",
            "store",
            "sandbox",
            "gateway",
            "vault",
            "router",
            "delivery",
            "pace",
            "progress",
            "door",
            "supervisor",
            "admin",
            "trust",
        ],
    ),
    ("cli", &["config", "sandbox", "daemon", "vault", "trust"]),
];

/// Libraries that only some rooms may know.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("bollard", &["sandbox"]),
    ("rusqlite", &["store"]),
    ("rusqlite_migration", &["store"]),
    ("chacha20poly1305", &["vault"]),
    ("secret_service", &["vault"]),
    ("zbus", &["vault"]),
    ("frankenstein", &["channels"]),
    ("reqwest", &["channels", "gateway", "door", "cli", "vault", "trust"]),
];

/// What the crate's root has besides the rooms.
const ROOT: &[&str] = &["clock", "error_chain", "hooks", "unix_socket", "untaken", "listening"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("host/src")
}

/// A path that code names: its first segments, and the file.
#[derive(Debug, Default)]
struct Uses {
    rooms: BTreeSet<String>,
    libraries: BTreeSet<String>,
}

/// The file's depth below the crate: `a.rs` and `a/mod.rs` are 1, `a/b.rs` is 2.
fn depth(path: &Path) -> usize {
    let parts = path.strip_prefix(source()).expect("below the source").components().count();
    if path.file_name().is_some_and(|name| name == "mod.rs") { parts - 1 } else { parts }
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name == "tests" || name.ends_with("_tests") || path.components().any(|part| part.as_os_str() == "tests")
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test_file(&path) {
            found.push(path);
        }
    }
}

/// What each room uses, with the files that do.
fn uses() -> BTreeMap<String, Vec<(PathBuf, Uses)>> {
    let mut paths = Vec::new();
    files(&source(), &mut paths);
    let mut rooms: BTreeMap<String, Vec<(PathBuf, Uses)>> = BTreeMap::new();
    for path in paths {
        let first = path.strip_prefix(source()).expect("below").components().next().expect("a name");
        let room = Path::new(first.as_os_str()).file_stem().expect("a stem").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        let tokens = TokenStream::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut uses = Uses::default();
        scan(&tokens.into_iter().collect::<Vec<_>>(), depth(&path), &mut uses);
        rooms.entry(room).or_default().push((path, uses));
    }
    rooms
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// Walks a module's tokens; macros' too, where paths are as real.
fn scan(tokens: &[TokenTree], depth: usize, uses: &mut Uses) {
    let mut at = 0;
    while at < tokens.len() {
        if let Some(after) = after_test_module(tokens, at) {
            at = after;
            continue;
        }
        match &tokens[at] {
            TokenTree::Ident(name) if name == "mod" => {
                if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                    scan(&body.stream().into_iter().collect::<Vec<_>>(), depth + 1, uses);
                    at += 2;
                }
            }
            TokenTree::Ident(name) => {
                let continues = at >= 2 && is_path_separator(tokens, at - 2);
                if !continues {
                    path(tokens, at, &name.to_string(), depth, uses);
                }
            }
            TokenTree::Group(group) => scan(&group.stream().into_iter().collect::<Vec<_>>(), depth, uses),
            _ => {}
        }
        at += 1;
    }
}

/// Behind `#[cfg(test)] mod name { … }` or `#[cfg(test)] … mod name;`, when that begins at `at`.
fn after_test_module(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let is_cfg_test = matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == '#')
        && matches!(tokens.get(at + 1), Some(TokenTree::Group(g)) if g.to_string().replace(' ', "") == "[cfg(test)]");
    if !is_cfg_test {
        return None;
    }
    // Further attributes and the item, to its body or its semicolon.
    let end = tokens[at + 2..].iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    Some(end.map_or(tokens.len(), |end| at + 2 + end + 1))
}

/// A path that begins at `at`: into a room, or into a library.
fn path(tokens: &[TokenTree], at: usize, name: &str, depth: usize, uses: &mut Uses) {
    if LIBRARIES.iter().any(|(library, _)| *library == name)
        && (is_path_separator(tokens, at + 1) || follows_use(tokens, at))
    {
        uses.libraries.insert(name.to_owned());
    }
    let (mut next, mut ups) = (at, 0);
    if name == "super" {
        while ident(tokens.get(next)).as_deref() == Some("super") {
            ups += 1;
            next += 3;
        }
        if ups < depth {
            return;
        }
    } else if name == "crate" && is_path_separator(tokens, at + 1) {
        next = at + 3;
    } else {
        return;
    }
    match tokens.get(next) {
        Some(TokenTree::Ident(room)) => drop(uses.rooms.insert(room.to_string())),
        Some(TokenTree::Group(group)) => {
            uses.rooms.extend(branches(&group.stream().into_iter().collect::<Vec<_>>()))
        }
        _ => {}
    }
}

fn follows_use(tokens: &[TokenTree], at: usize) -> bool {
    at > 0 && ident(tokens.get(at - 1)).as_deref() == Some("use")
}

/// The first segments of `{a::b, c}`.
fn branches(tokens: &[TokenTree]) -> Vec<String> {
    let split = tokens.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','));
    split.filter_map(|branch| ident(branch.first())).collect()
}

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    TABLE.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed)
}

#[test]
fn every_room_uses_only_the_rooms_that_the_table_allows() {
    let mut broken = Vec::new();
    for (room, files) in uses() {
        if room == "lib" || room == "main" {
            continue;
        }
        let allowed = allowed(&room).unwrap_or_else(|| panic!("the room '{room}' is not in the table"));
        for (path, uses) in files {
            for used in uses.rooms.iter().filter(|used| **used != room && !ROOT.contains(&used.as_str())) {
                if !allowed.contains(&used.as_str()) {
                    broken.push(format!("{} uses {used}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "against the import table:\n{}", broken.join("\n"));
}

#[test]
fn the_cli_is_a_client_and_knows_the_daemon_and_the_sandbox_in_one_file_each() {
    for (path, uses) in uses().remove("cli").expect("the room") {
        for (room, file) in [("daemon", "cli/connect.rs"), ("sandbox", "cli/engine.rs")] {
            assert!(!uses.rooms.contains(room) || path.ends_with(file), "{} uses {room}", path.display());
        }
    }
}

#[test]
fn nobody_uses_the_cli_but_main() {
    for (room, files) in uses() {
        let knows = files.iter().any(|(_, uses)| uses.rooms.contains("cli"));
        assert!(!knows || room == "cli", "{room} uses the cli");
    }
}

/// Words that a platform is known by, of those that are words of nothing else.
const PLATFORMS: &[&str] = &[
    "telegram",
    "irc",
    "github",
    "gitlab",
    "discord",
    "whatsapp",
    "feishu",
    "dingtalk",
    "wechat",
    "mattermost",
    "xmpp",
];
/// Where they are known besides the room of channels, and why.
const KNOWN_IN: &[(&str, &str)] =
    &[("cli/chats/args.rs", "`hook add --github` is an option that people and scripts have")];

/// What names a platform: a word of a name, of a text or of a comment on an item.
fn platforms(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(after) = after_test_module(&tokens, at) {
            at = after;
            continue;
        }
        match &tokens[at] {
            TokenTree::Group(group) => platforms(group.stream(), found),
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                let text = tokens[at].to_string().to_lowercase();
                let words = text.split(|c: char| !c.is_alphanumeric());
                found.extend(words.filter(|word| PLATFORMS.contains(word)).map(str::to_owned));
            }
            TokenTree::Punct(_) => {}
        }
        at += 1;
    }
}

/// The files that know platforms, below the source, with which.
fn knowing() -> BTreeMap<String, BTreeSet<String>> {
    let mut paths = Vec::new();
    files(&source(), &mut paths);
    let mut knowing = BTreeMap::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("text");
        let mut found = BTreeSet::new();
        platforms(TokenStream::from_str(&text).expect("Rust"), &mut found);
        if !found.is_empty() {
            knowing.insert(path.strip_prefix(source()).expect("below").display().to_string(), found);
        }
    }
    knowing
}

#[test]
fn only_channels_know_a_platforms_name() {
    let mut knowing = knowing();
    knowing.retain(|path, _| !path.starts_with("channels/"));
    for (path, why) in KNOWN_IN {
        assert!(knowing.remove(*path).is_some(), "{path} knows none any more, so that this is over: {why}");
    }
    assert!(knowing.is_empty(), "they know a platform's name: {knowing:#?}");
}

#[test]
fn a_platform_is_seen_in_names_texts_and_comments_and_not_in_tests() {
    let seen = |text: &str| {
        let mut found = BTreeSet::new();
        platforms(TokenStream::from_str(text).expect("tokens"), &mut found);
        found.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen("const IRC: u8 = 1; fn check_github() {}"), "github irc");
    assert_eq!(seen("/// As Telegram has it.\nfn f() { g(\"only GitHub's\") }"), "github telegram");
    assert_eq!(seen("#[cfg(test)] mod tests { const A: &str = \"telegram\"; } fn circle() {}"), "");
}

/// Crates that are built together share their features: a plain `cargo build --release` must not have the tests' hooks.
#[test]
fn a_plain_build_does_not_have_the_tests_hooks() {
    let manifest = std::fs::read_to_string(source().join("../../Cargo.toml")).expect("the workspace");
    let built = manifest.lines().find(|line| line.starts_with("default-members = ")).expect("the default members");
    assert!(built.contains("\"host\"") && !built.contains("\"tests\""), "{built}");
}

#[test]
fn the_table_has_no_circles() {
    for (at, (room, allowed)) in TABLE.iter().enumerate() {
        for used in *allowed {
            assert!(
                TABLE[..at].iter().any(|(earlier, _)| earlier == used),
                "{room} uses {used}, which stands below it"
            );
        }
    }
}

#[test]
fn every_room_of_the_table_is_there() {
    let there = uses();
    for (room, _) in TABLE {
        assert!(there.contains_key(*room), "{room}");
    }
}

#[test]
fn the_engine_the_database_and_http_are_known_in_one_place_each() {
    let mut broken = Vec::new();
    for (room, files) in uses() {
        for (path, uses) in files {
            for library in &uses.libraries {
                let (_, rooms) = LIBRARIES.iter().find(|(name, _)| name == library).expect("a known one");
                if !rooms.contains(&room.as_str()) {
                    broken.push(format!("{} uses {library}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let known: BTreeSet<String> = uses().into_values().flatten().flat_map(|(_, uses)| uses.libraries).collect();
    assert!(known.contains("bollard") && known.contains("rusqlite") && known.contains("reqwest"), "{known:?}");
}

#[test]
fn the_scan_sees_imports_paths_macros_and_supers_and_skips_tests() {
    let seen = |text: &str, depth| {
        let mut uses = Uses::default();
        scan(&TokenStream::from_str(text).expect("tokens").into_iter().collect::<Vec<_>>(), depth, &mut uses);
        (
            uses.rooms.into_iter().collect::<Vec<_>>().join(" "),
            uses.libraries.into_iter().collect::<Vec<_>>().join(" "),
        )
    };
    let rooms = |text: &str, depth| seen(text, depth).0;
    assert_eq!(rooms("use crate::{a::x, b, c::{d, e}}; use crate::f;", 1), "a b c f");
    assert_eq!(rooms("fn g() { info!(x = crate::h::i(&crate::j())); }", 1), "h j");
    assert_eq!(rooms("use super::a; mod b { use super::super::c; use super::d; }", 1), "a c");
    assert_eq!(rooms("use super::a; use super::super::b;", 2), "b");
    assert_eq!(rooms("#[cfg(test)] mod tests { use crate::a; } use crate::b;", 1), "b");
    assert_eq!(rooms("#[cfg(test)] #[path = \"x\"] mod tests; use crate::b;", 1), "b");
    assert_eq!(seen("fn f() -> bollard::Docker { x::reqwest::y() }", 1).1, "bollard");
}

#[test]
fn clients_are_made_in_one_place_and_nothing_turns_the_check_of_certificates_off() {
    let mut paths = Vec::new();
    files(&source(), &mut paths);
    let having = |words: &[&str]| -> Vec<String> {
        let has = |path: &&PathBuf| {
            let text = std::fs::read_to_string(path).expect("text");
            words.iter().any(|word| text.contains(word))
        };
        paths
            .iter()
            .filter(has)
            .map(|path| path.strip_prefix(source()).expect("below").display().to_string())
            .collect()
    };
    assert_eq!(having(&["Client::builder", "Client::new()", "ClientBuilder"]), ["trust.rs"]);
    assert_eq!(having(&["danger_accept", "dangerous()", "tls_danger"]), Vec::<String>::new());
}
