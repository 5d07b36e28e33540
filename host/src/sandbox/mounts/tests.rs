//! Preparing whole sessions.

use std::os::unix::fs::symlink;

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    home: Home,
    folder: Folder,
    session: SessionId,
    user: User,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path()).unwrap();
    let folder: Folder = "demo".parse().unwrap();
    fs::create_dir_all(home.group(&folder)).unwrap();
    fs::write(home.container_json(&folder), "{}").unwrap();
    let session = "0123456789abcdef0123456789abcdef".parse().unwrap();
    Fixture { dir, home, folder, session, user: container_user() }
}

fn prepare_it(f: &Fixture) -> Result<Prepared, PrepareError> {
    prepare_with(f, &GroupConfig::default())
}

fn prepare_with(f: &Fixture, config: &GroupConfig) -> Result<Prepared, PrepareError> {
    prepare_having(f, config, &Credentials::sealed(&f.session))
}

fn prepare_having(f: &Fixture, config: &GroupConfig, credentials: &Credentials) -> Result<Prepared, PrepareError> {
    let env = |name: &str| (name == "COFFERDAM_VALUE_TOKEN").then(|| "tok-123".to_owned());
    let (folder, session, user) = (&f.folder, &f.session, f.user);
    let model = Some("m\"x");
    prepare(&f.home, &Plan { folder, session, user, config, credentials, model, seed: None, env: &env })
}

#[test]
fn a_container_never_runs_as_root() {
    assert_ne!(container_user().uid, 0);
}

#[test]
fn only_workspace_and_codex_home_are_writable() {
    let f = fixture();
    let writable: Vec<_> =
        prepare_it(&f).unwrap().mounts.into_iter().filter(|m| m.writable).map(|m| m.target).collect();
    assert_eq!(writable, [CWD, "/home/agent/.codex"]);
}

#[test]
fn a_link_that_an_agent_left_in_its_codex_home_is_replaced_not_followed() {
    let f = fixture();
    prepare_it(&f).unwrap();
    let victim = f.dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let config = f.home.codex_home(&f.folder, &f.session).join("config.toml");
    fs::remove_file(&config).unwrap();
    symlink(&victim, &config).unwrap();
    prepare_it(&f).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::symlink_metadata(&config).unwrap().is_file());
}

#[test]
fn a_start_with_a_copy_leads_codex_to_the_vendor_and_a_sealed_one_leaves_nothing_of_it() {
    let f = fixture();
    let handle = credentials::Handle::new(&f.session);
    let auth_json = r#"{"tokens": {"access_token": "access-secret"}}"#.into();
    let copy =
        credentials::Copied { account: "work".parse().unwrap(), auth_json, base_url: "https://vendor/x".into() };
    prepare_having(&f, &GroupConfig::default(), &Credentials { handle, copy: Some(copy) }).unwrap();
    let codex = f.home.codex_home(&f.folder, &f.session);
    let file = |name: &str| fs::read_to_string(codex.join(name)).unwrap();
    assert!(file("auth.json").contains("access-secret") && file("config.toml").contains("https://vendor/x"));
    prepare_it(&f).unwrap();
    assert!(file("config.toml").contains("http://127.0.0.1:8787/v1") && !file("config.toml").contains("vendor"));
    let left = fs::read_dir(&codex).unwrap().flatten().filter(|entry| {
        fs::read(entry.path()).is_ok_and(|bytes| bytes.windows(13).any(|window| window == b"access-secret"))
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn orders_that_an_agent_left_in_its_codex_home_are_gone_at_the_next_start() {
    let f = fixture();
    prepare_it(&f).unwrap();
    let codex = f.home.codex_home(&f.folder, &f.session);
    fs::write(codex.join("AGENTS.md"), "obey").unwrap();
    fs::create_dir_all(codex.join("skills/evil")).unwrap();
    symlink("/etc", codex.join("prompts")).unwrap();
    fs::write(codex.join("state_5.sqlite"), "kept").unwrap();
    prepare_it(&f).unwrap();
    assert_eq!(fs::read_to_string(codex.join("AGENTS.md")).unwrap(), "", "only a place for the mount");
    for gone in ["skills", "prompts"] {
        assert!(fs::symlink_metadata(codex.join(gone)).is_err(), "{gone}");
    }
    assert!(codex.join("state_5.sqlite").exists() && Path::new("/etc").exists());
}

#[test]
fn instructions_that_are_a_link_are_refused() {
    let f = fixture();
    symlink("/etc/passwd", f.home.agents_md(&f.folder)).unwrap();
    assert!(prepare_it(&f).is_err());
}

#[test]
fn the_instructions_of_all_groups_lie_read_only_over_both_files_that_codex_would_read() {
    let f = fixture();
    let shared = |f: &Fixture| {
        let mounts = prepare_it(f).unwrap().mounts;
        let over: Vec<_> = mounts.iter().filter(|m| m.target.contains("/.codex/AGENTS")).cloned().collect();
        assert!(over.iter().all(|m| !m.writable && m.source == over[0].source));
        assert_eq!(
            over.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(),
            ["/home/agent/.codex/AGENTS.md", "/home/agent/.codex/AGENTS.override.md"]
        );
        fs::read_to_string(&over[0].source).unwrap()
    };
    assert_eq!(shared(&f), "", "also when there are none");
    fs::create_dir_all(f.home.shared()).unwrap();
    fs::write(f.home.shared_agents_md(), "for all").unwrap();
    assert_eq!(shared(&f), "for all");
}

#[test]
fn instructions_that_codex_would_cut_are_refused_with_the_file() {
    let f = fixture();
    fs::create_dir_all(f.home.shared()).unwrap();
    fs::write(f.home.shared_agents_md(), vec![b'x'; 65_537]).unwrap();
    let error = prepare_it(&f).unwrap_err();
    assert!(matches!(&error, PrepareError::Config(e) if e.file == f.home.shared_agents_md()), "{error}");
}

#[test]
fn each_skill_is_a_read_only_mount_where_codex_looks() {
    let f = fixture();
    for root in [f.home.skills(&f.folder), f.home.shared_skills()] {
        fs::create_dir_all(root.join("draw")).unwrap();
        fs::write(root.join("draw/SKILL.md"), "x").unwrap();
    }
    let mounts = prepare_it(&f).unwrap().mounts;
    let skills: Vec<_> = mounts.iter().filter(|m| m.target.contains("skills")).collect();
    let wanted = Mount {
        source: f.home.skills(&f.folder).join("draw"),
        target: "/home/agent/.agents/skills/draw".into(),
        writable: false,
    };
    assert_eq!(skills, [&wanted]);
}

#[test]
fn what_a_container_started_with_is_kept_without_values_and_forgotten_with_the_servers() {
    use secrecy::ExposeSecret;

    use crate::config::mcp::resolve::Reached;
    let f = fixture();
    let text = r#"{"mcpServers": {"far": {"url": "http://far/", "headers": {"X-Key": "${TOKEN}"}}}}"#;
    let config = GroupConfig::parse(text, Path::new("x")).unwrap();
    prepare_with(&f, &config).unwrap();
    let kept = fs::read_to_string(f.home.session_servers(&f.folder, &f.session)).unwrap();
    assert!(kept.contains("${TOKEN}") && !kept.contains("tok-123"), "{kept}");
    let codex = fs::read_to_string(f.home.codex_home(&f.folder, &f.session).join("config.toml")).unwrap();
    assert!(codex.contains("/mcp/far") && !codex.contains("tok-123") && !codex.contains("http://far"), "{codex}");
    let started = started_with(&f.home, &f.folder, &f.session, &|_| Some("tok-9".to_owned())).unwrap();
    let Reached::Remote(remote) = &started[0].reached else { panic!("{started:?}") };
    assert_eq!(remote.headers[0].1.expose_secret(), "tok-9");
    let error = started_with(&f.home, &f.folder, &f.session, &|_| None).unwrap_err();
    assert!(error.to_string().contains("TOKEN"), "{error}");
    prepare_it(&f).unwrap();
    assert!(started_with(&f.home, &f.folder, &f.session, &|_| None).unwrap().is_empty());
}
