//! `mcpServers` in a whole file, and with values.

use std::path::Path;

use secrecy::ExposeSecret;

use super::resolve::{Reached, Remote, Resolved, resolve};
use crate::config::ConfigError;
use crate::config::group::GroupConfig;
use crate::config::home::Home;

fn parse(servers: &str) -> Result<GroupConfig, ConfigError> {
    GroupConfig::parse(&format!("{{\"mcpServers\":\n{servers}}}"), Path::new("container.json"))
}

fn bad(servers: &str) -> String {
    parse(servers).unwrap_err().to_string()
}

/// As the documentation of well-known servers has it.
const COPIED: &str = r#"{
  "github": {"command": "npx", "args": ["-y", "server-github"], "env": {"TOKEN": "${GITHUB_TOKEN}"}},
  "linear": {"type": "http", "url": "https://mcp.linear.app/mcp", "headers": {"Authorization": "Bearer ${LINEAR}"}},
  "old": {"command": "x", "disabled": true, "env": {"A": "${NOBODY_HAS_THIS}"}},
  "all": {"type": "stdio", "command": "/bin/${NAME}", "required": true, "startup_timeout_sec": 5,
          "tool_timeout_sec": 6, "enabled_tools": ["a"]}}"#;

#[test]
fn what_is_copied_from_other_programs_is_read_and_written_as_it_was() {
    let config = parse(COPIED).unwrap();
    let github = &config.mcp_servers["github"];
    assert_eq!((github.terms.startup_timeout_sec, github.terms.tool_timeout_sec), (30, 300));
    assert!(!github.terms.required && !github.disabled);
    let text = serde_json::to_string(&config).unwrap();
    assert!(text.contains("Bearer ${LINEAR}"), "{text}");
    assert_eq!(GroupConfig::parse(&text, Path::new("x")).unwrap(), config);
}

#[test]
fn a_server_is_reached_in_exactly_one_way() {
    insta::assert_snapshot!(bad(r#"{"a": {}}"#), @r#"container.json:2:9: `mcpServers.a`: it needs `command` (a program in the container) or `url` (a remote server)"#);
    insta::assert_snapshot!(bad(r#"{"a": {"command": "x", "url": "http://x"}}"#), @r#"container.json:2:42: `mcpServers.a`: it has both `command` and `url`: keep one of them"#);
    insta::assert_snapshot!(bad(r#"{"a": {"type": "sse", "url": "http://x"}}"#), @r#"container.json:2:41: `mcpServers.a`: the older transport `sse` is not supported: give the server's Streamable HTTP address, with the type `http`"#);
    insta::assert_snapshot!(bad(r#"{"a": {"type": "http", "command": "x"}}"#), @r#"container.json:2:39: `mcpServers.a`: a server with a `command` has the type `stdio`"#);
    insta::assert_snapshot!(bad(r#"{"a": {"type": "stdio", "url": "http://x"}}"#), @r#"container.json:2:43: `mcpServers.a`: a server with a `url` has the type `http`"#);
    insta::assert_snapshot!(bad(r#"{"a": {"url": "http://x", "env": {"A": "b"}}}"#), @r#"container.json:2:45: `mcpServers.a`: a server with a `url` has no `args` and no `env`; secrets go into `headers`"#);
    insta::assert_snapshot!(bad(r#"{"a": {"command": "x", "headers": {"A": "b"}}}"#), @r#"container.json:2:46: `mcpServers.a`: a server with a `command` has no `headers`; secrets go into `env`"#);
    insta::assert_snapshot!(bad(r#"{"a": {"command": " "}}"#), @r#"container.json:2:23: `mcpServers.a`: its `command` is empty"#);
}

#[test]
fn wrong_keys_names_and_values_are_refused_where_they_stand() {
    insta::assert_snapshot!(bad(r#"{"a": {"comand": "x"}}"#), @r#"container.json:2:15: `mcpServers.a.comand`: there is no such key; did you mean `command`?"#);
    insta::assert_snapshot!(bad(r#"{"a b": {"command": "x"}}"#), @r#"container.json:2:6: `mcpServers`: "a b" is not a server's name: 1 to 64 letters, digits, `_` and `-`"#);
    insta::assert_snapshot!(bad("{\"a\": {\"command\": \"x\"},\n \"a\": {\"command\": \"x\"}}"), @r#"container.json:3:4: `mcpServers`: duplicate field `a`; keep one of them"#);
    insta::assert_snapshot!(bad(r#"{"a": {"type": "websocket", "url": "http://x"}}"#), @r#"container.json:2:26: `mcpServers.a.type`: there is no such value: "websocket"; possible here: stdio, http, streamable-http, sse"#);
    insta::assert_snapshot!(bad(r#"{"a": {"url": "ftp://x"}}"#), @r#"container.json:2:25: `mcpServers.a`: its `url` is not an http or https address"#);
    insta::assert_snapshot!(bad(r#"{"a": {"url": "https://me:pw@x/"}}"#), @r#"container.json:2:34: `mcpServers.a`: its `url` has a user or password in it: put an `Authorization` into `headers`"#);
    insta::assert_snapshot!(bad(r#"{"a": {"command": "x", "env": {"A": "${"}}}"#), @r#"container.json:2:41: `mcpServers.a.env.A`: a `${` has no `}`; a value is written `${NAME}`, and the characters `${` themselves `$${`"#);
    insta::assert_snapshot!(bad(r#"{"a": {"command": "x", "env": {"A B": "c"}}}"#), @r#"container.json:2:36: `mcpServers.a.env`: "A B" is not a variable's name: letters, digits and `_`, not starting with a digit"#);
    insta::assert_snapshot!(bad(r#"{"a": {"url": "http://x", "headers": {"Host": "c"}}}"#), @r#"container.json:2:44: `mcpServers.a.headers`: "Host" cannot be set: the connection decides it"#);
    insta::assert_snapshot!(bad(r#"{"a": {"command": "x", "startup_timeout_sec": 0}}"#), @r#"container.json:2:47: `mcpServers.a.startup_timeout_sec`: invalid value: integer `0`, expected a whole number from 1 to 3600"#);
    insta::assert_snapshot!(bad(r#"[]"#), @r#"container.json:2:1: `mcpServers`: invalid type: sequence, expected an object of servers by name"#);
}

struct Case {
    dir: tempfile::TempDir,
    home: Home,
}

impl Case {
    fn new(toml: &str, dotenv: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cofferdam.toml"), toml).unwrap();
        std::fs::write(dir.path().join(".env"), dotenv).unwrap();
        let home = Home::new(dir.path()).unwrap();
        Self { dir, home }
    }

    fn resolve(&self, servers: &str, env: &[(&str, &str)]) -> Result<Vec<Resolved>, ConfigError> {
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        resolve(&parse(servers).unwrap().mcp_servers, &self.home, Path::new("container.json"), &env)
    }
}

#[test]
fn values_come_from_the_environment_then_dotenv_then_the_file() {
    let case = Case::new(
        "[values]\nA = \"file\"\nB = \"file\"\nC = \"file\"\n",
        "COFFERDAM_VALUE_A=dotenv\nCOFFERDAM_VALUE_B=dotenv\n",
    );
    let servers = r#"{"s": {"command": "${A} ${B} ${C}"}}"#;
    let resolved = case.resolve(servers, &[("COFFERDAM_VALUE_A", "env"), ("A", "no"), ("COFFERDAM_VALUE_C", "")]);
    match &resolved.unwrap()[0].reached {
        Reached::Stdio { command, .. } => assert_eq!(command.expose_secret(), "env dotenv file"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn disabled_servers_are_left_out_and_their_values_are_not_needed() {
    let case = Case::new("[values]\nGITHUB_TOKEN = \"ghp-1\"\nLINEAR = \"lin-1\"\nNAME = \"n\"", "");
    let resolved = case.resolve(COPIED, &[]).unwrap();
    assert_eq!(resolved.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["all", "github", "linear"]);
    let Reached::Remote(Remote { url, headers, secrets }) = &resolved[2].reached else { panic!("{resolved:?}") };
    assert_eq!(url.expose_secret(), "https://mcp.linear.app/mcp");
    assert_eq!((headers[0].0.as_str(), headers[0].1.expose_secret()), ("Authorization", "Bearer lin-1"));
    assert_eq!(secrets.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), ["lin-1"]);
    let shown = format!("{resolved:?}");
    assert!(!shown.contains("ghp-1") && !shown.contains("lin-1"), "{shown}");
}

#[test]
fn a_missing_value_says_which_key_needs_it_and_where_to_put_it() {
    let case = Case::new("", "");
    let error = case.resolve(r#"{"s": {"url": "http://x", "headers": {"X-Key": "${K}"}}}"#, &[("K", "host's own")]);
    let error = error.unwrap_err().to_string().replace(&case.dir.path().display().to_string(), "HOME");
    insta::assert_snapshot!(error, @r#"container.json: `mcpServers.s.headers.X-Key`: `${K}` has no value on this host; set COFFERDAM_VALUE_K in the daemon's environment or in HOME/.env, or K under [values] in HOME/cofferdam.toml"#);
}

#[test]
fn a_value_that_cannot_stand_where_it_is_used_is_refused_without_showing_it() {
    let case = Case::new("[values]\nK = \"se\\ncret\"\nU = \"ftp://secret\"\n", "");
    for servers in [r#"{"s": {"url": "http://x", "headers": {"X-Key": "${K}"}}}"#, r#"{"s": {"url": "${U}"}}"#] {
        let error = case.resolve(servers, &[]).unwrap_err();
        assert!(error.key.as_deref().is_some_and(|key| key.starts_with("mcpServers.s.")), "{error}");
        assert!(!format!("{error} {error:?}").contains("cret"), "{error}");
    }
}

#[test]
fn the_hosts_files_are_not_read_for_servers_that_need_no_value() {
    let case = Case::new("this is no toml", "");
    assert_eq!(case.resolve(r#"{"s": {"command": "x"}}"#, &[]).unwrap().len(), 1);
    assert!(case.resolve(r#"{"s": {"command": "${X}"}}"#, &[]).is_err());
}
