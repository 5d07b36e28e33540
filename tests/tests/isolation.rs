//! What a container is, seen from the engine and from inside it by the agent's own commands.

use std::collections::HashMap;

use bollard::models::ContainerInspectResponse;
use cofferdam_protocol::ids::SessionId;
use cofferdam_tests::engine;
use cofferdam_tests::home::TestHome;
use cofferdam_tests::vendor::{KEY, Say, Vendor};
use serde_json::json;

/// Runs a shell script as the agent does and answers its output.
async fn run(home: &TestHome, script: &str) -> String {
    home.write_script("demo", script);
    home.admin().chat("demo", "!run sh ./script.sh 2>&1").await.text()
}

/// A script's output as `name=value` lines.
async fn facts(home: &TestHome, script: &str) -> HashMap<String, String> {
    let text = run(home, script).await;
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn container(home: &TestHome) -> (ContainerInspectResponse, SessionId) {
    let answer = home.admin().chat("demo", "hello").await;
    let seen = engine::inspect(answer.container()).await.expect("it runs");
    (seen, answer.finished.session)
}

#[tokio::test]
async fn the_engine_was_told_to_seal_the_container() {
    let home = TestHome::with_demo(&json!({"limits": {"memory_mb": 512, "pids": 200, "cpus": 1.5}})).await;
    let (seen, session) = container(&home).await;
    let host = seen.host_config.expect("its configuration");
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.init, Some(true));
    assert_eq!(host.auto_remove, Some(true));
    assert_ne!(host.privileged, Some(true));
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert!(host.cap_add.unwrap_or_default().is_empty());
    assert!(host.security_opt.unwrap_or_default().iter().any(|option| option.starts_with("no-new-privileges")));
    assert_eq!((host.memory, host.memory_swap), (Some(512 << 20), Some(512 << 20)));
    assert_eq!((host.pids_limit, host.nano_cpus), (Some(200), Some(1_500_000_000)));
    let config = seen.config.expect("its configuration");
    assert!(
        config.user.is_some_and(|user| !user.is_empty() && !user.starts_with('0') && !user.starts_with("root"))
    );
    let labels = config.labels.unwrap_or_default();
    assert_eq!(labels["cofferdam.install"], home.admin().status().await.install);
    assert_eq!(
        (labels["cofferdam.session"].as_str(), labels["cofferdam.attempt"].as_str()),
        (session.as_str(), "1")
    );
}

#[tokio::test]
async fn the_container_sees_the_seven_mounts_of_its_own_group_and_session_and_nothing_else() {
    let home = TestHome::with_demo(&json!({})).await;
    let (seen, session) = container(&home).await;
    let root = home.root().to_string_lossy().into_owned();
    let mut mounts: Vec<(String, String, bool)> = seen
        .mounts
        .unwrap_or_default()
        .into_iter()
        .filter_map(|mount| Some((mount.destination?, mount.source?.replace(&root, "HOME"), mount.rw?)))
        .collect();
    mounts.sort();
    let session = session.as_str();
    let wanted = [
        ("/group/AGENTS.md", "HOME/groups/demo/AGENTS.md".to_owned(), false),
        ("/group/container.json", "HOME/groups/demo/container.json".to_owned(), false),
        ("/group/workspace", "HOME/groups/demo/workspace".to_owned(), true),
        ("/home/agent/.codex", format!("HOME/data/groups/demo/sessions/{session}/codex"), true),
        ("/home/agent/.codex/AGENTS.md", format!("HOME/data/groups/demo/sessions/{session}/AGENTS.md"), false),
        (
            "/home/agent/.codex/AGENTS.override.md",
            format!("HOME/data/groups/demo/sessions/{session}/AGENTS.md"),
            false,
        ),
        ("/run/cofferdam", format!("HOME/run/doors/{session}"), false),
    ];
    assert_eq!(mounts, wanted.map(|(to, from, rw)| (to.to_owned(), from, rw)));
}

#[tokio::test]
async fn inside_there_is_no_root_no_capability_and_no_network() {
    let home = TestHome::with_demo(&json!({})).await;
    let facts = facts(
        &home,
        r#"
        echo uid=$(id -u)
        echo groups=$(id -G)
        echo interfaces=$(ls /sys/class/net)
        grep -E '^(CapEff|CapPrm|CapBnd|CapInh|CapAmb|NoNewPrivs)' /proc/self/status | sed 's/:[[:space:]]*/=/'
        touch /usr/bin/x 2>/dev/null && echo root=writable || echo root=read-only
        touch /etc/x 2>/dev/null && echo etc=writable || echo etc=read-only
        find / -xdev \( -perm -4000 -o -perm -2000 \) -type f 2>/dev/null | head -1 | sed 's/^/setuid=/'
        touch /tmp/x && echo tmp=writable
        touch x && echo workspace=writable
        curl -s -m 5 -o /dev/null https://example.com && echo outside=reached || echo outside=unreachable
        "#,
    )
    .await;
    assert_eq!(facts["interfaces"], "lo");
    let root = cofferdam::sandbox::mounts::container_user();
    assert_eq!((facts["uid"].clone(), facts["groups"].clone()), (root.uid.to_string(), root.gid.to_string()));
    assert_ne!(facts["uid"], "0");
    for capabilities in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        assert_eq!(facts[capabilities], "0000000000000000", "{capabilities}");
    }
    assert_eq!(facts["NoNewPrivs"], "1");
    assert_eq!((facts["root"].as_str(), facts["etc"].as_str()), ("read-only", "read-only"));
    assert!(!facts.contains_key("setuid"), "{:?}", facts.get("setuid"));
    assert_eq!((facts["tmp"].as_str(), facts["workspace"].as_str()), ("writable", "writable"));
    assert_eq!(facts["outside"], "unreachable");
}

#[tokio::test]
async fn the_agent_cannot_change_its_instructions_or_settings() {
    let home = TestHome::with_demo(&json!({"model": "kept"})).await;
    let text = run(
        &home,
        r#"
        for file in /group/AGENTS.md /group/container.json; do
            (echo changed >> $file) 2>/dev/null && echo $file=changed
            rm -f $file 2>/dev/null && echo $file=removed
            mv $file /tmp/ 2>/dev/null && echo $file=moved
        done
        touch /group/new 2>/dev/null && echo /group=changed
        touch /run/cofferdam/x 2>/dev/null && echo door=changed
        rm -f /run/cofferdam/door.sock 2>/dev/null && echo door=removed
        echo end
        "#,
    )
    .await;
    assert!(text.contains("end"), "{text}");
    for done in ["=changed", "=removed", "=moved"] {
        assert!(!text.contains(done), "{text}");
    }
    assert_eq!(std::fs::read_to_string(home.folder("demo").join("AGENTS.md")).expect("there"), "You are demo.\n");
    assert_eq!(std::fs::read_to_string(home.container_json("demo")).expect("there"), r#"{"model":"kept"}"#);
}

#[tokio::test]
async fn there_is_no_engine_socket_and_no_database_inside() {
    let home = TestHome::with_demo(&json!({})).await;
    let text = run(
        &home,
        r#"
        find / -xdev -name 'docker*.sock' -o -name containerd.sock -o -name state.db -o -name central.db -o -name admin.sock 2>/dev/null | sed 's/^/found=/'
        find / -type s -not -path '/proc/*' 2>/dev/null | sed 's/^/socket=/'
        echo end
        "#,
    )
    .await;
    assert!(text.contains("end") && !text.contains("found="), "{text}");
    let sockets: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("socket=")).collect();
    assert!(sockets.iter().all(|socket| *socket == "/run/cofferdam/door.sock"), "{sockets:?}");
}

#[tokio::test]
async fn the_hosts_key_reaches_the_vendor_and_appears_nowhere_in_the_container() {
    let (mut home, vendor) = (TestHome::new(), Vendor::start().await);
    vendor.serve(&mut home);
    std::fs::write(home.root().join(".env"), format!("UNRELATED={KEY}\n")).expect(".env");
    home.up().await;
    home.group("demo", &json!({})).await;
    // A pattern that does not match itself, so that the search does not find its own words.
    let pattern = format!("[{}]{}", &KEY[..1], &KEY[1..]);
    home.write_script(
        "demo",
        &format!(
            r#"
            key='{pattern}'
            grep -la "$key" /proc/*/environ /proc/*/cmdline 2>/dev/null | sed 's/^/leak=/'
            env | grep -a "$key" | sed 's/^/leak=env /'
            grep -raI -l "$key" /home /tmp /run /group /etc /usr/local 2>/dev/null | sed 's/^/leak=/'
            grep -ra -l "$key" /home/agent/.codex 2>/dev/null | sed 's/^/leak=/'
            env | grep -ci -E '^(OPENAI|COFFERDAM)_.*(KEY|TOKEN|SECRET)' | sed 's/^/named=/'
            cat /home/agent/.codex/auth.json
            "#
        ),
    );
    vendor.script([Say::Run("sh ./script.sh 2>&1".into())]);
    let answer = home.admin().chat("demo", "look").await;
    answer.text();
    let calls = vendor.calls();
    assert_eq!(calls[0].headers["authorization"], format!("Bearer {KEY}"), "the host adds the key");
    let seen = calls[1].input();
    assert!(seen.contains("named=0") && !seen.contains("leak="), "{seen}");
    assert!(seen.contains("cofferdam-session-") && !seen.contains(KEY), "only a placeholder: {seen}");
    let inspected = engine::inspect(answer.container()).await.expect("it runs");
    assert!(!format!("{inspected:?}").contains(KEY), "not in what the engine shows either");
    let log = home.admin().logs(&answer.finished.session, None).await.expect("a log");
    assert!(!log.contains(KEY) && !home.log().contains(KEY), "nor in a log");
    let placeholder = format!("cofferdam-session-{}", answer.finished.session);
    assert!(
        calls.iter().all(|call| !format!("{:?}", call.headers).contains(&placeholder)),
        "the placeholder stays here"
    );
}

#[tokio::test]
async fn the_agents_own_commands_cannot_speak_for_the_runner() {
    let home = TestHome::with_demo(&json!({})).await;
    let script = r#"
        call() { curl -s -m 10 -o /tmp/body -w '%{http_code}' -H 'content-type: application/json' "$@"; }
        door="--unix-socket /run/cofferdam/door.sock"
        base=http://127.0.0.1:8787
        hello='{"protocol": PROTOCOL, "version": "x", "attempt": 1}'
        event='{"attempt": 1, "events": []}'
        echo hello=$(call -d "$hello" $base/runner/hello)
        echo hello_direct=$(call $door -d "$hello" http://door/runner/hello)
        echo next=$(call -d '{"attempt": 1}' $base/runner/next)
        echo next_wrong=$(call -H 'authorization: Bearer 0000' -d '{"attempt": 1}' $base/runner/next)
        echo next_direct=$(call $door -d '{"attempt": 1}' http://door/runner/next)
        echo events=$(call -d "$event" $base/runner/events)
        echo events_placeholder=$(call -H "authorization: Bearer $(sed 's/.*:"\(.*\)".*/\1/' ~/.codex/auth.json)" -d "$event" $base/runner/events)
        "#;
    let script = script.replace("PROTOCOL", &cofferdam_protocol::RUNNER_PROTOCOL.to_string());
    let facts = facts(&home, &script).await;
    for hello in ["hello", "hello_direct"] {
        assert_eq!(facts[hello], "409", "the token is handed out once: {facts:?}");
    }
    for call in ["next", "next_wrong", "next_direct", "events", "events_placeholder"] {
        assert_eq!(facts[call], "401", "{call}: {facts:?}");
    }
}

#[tokio::test]
async fn the_door_serves_the_api_and_nothing_else() {
    let home = TestHome::with_demo(&json!({})).await;
    let facts = facts(
        &home,
        r#"
        call() { curl -s -m 10 -o /dev/null -w '%{http_code}' --path-as-is "$@"; }
        base=http://127.0.0.1:8787
        echo models=$(call $base/v1/models)
        echo status=$(call $base/v1/status)
        echo sessions=$(call $base/v1/sessions)
        echo chat=$(call -d '{}' $base/v1/chat)
        echo root=$(call $base/)
        echo dots=$(call $base/v1/../runner/next)
        echo files=$(call $base/v1/files)
        echo absolute=$(call --request-target http://169.254.169.254/latest $base/)
        echo connect=$(call --request-target example.com:443 -X CONNECT $base/)
        echo get_hello=$(call $base/runner/hello)
        "#,
    )
    .await;
    assert_eq!(facts["models"], "200", "{facts:?}");
    for path in ["status", "sessions", "chat", "root", "dots", "files", "absolute", "connect", "get_hello"] {
        let status: u16 = facts[path].parse().expect("a status");
        assert!([400, 401, 404, 405].contains(&status), "{path}: {facts:?}");
    }
}

#[tokio::test]
async fn the_runners_memory_and_environment_cannot_be_read_by_the_agent() {
    let home = TestHome::with_demo(&json!({})).await;
    let facts = facts(
        &home,
        r#"
        for process in /proc/[0-9]*; do
            case "$(tr '\0' ' ' < $process/cmdline 2>/dev/null)" in
                /usr/local/bin/cofferdam-runner*) runner=$process ;;
            esac
        done
        echo runner=${runner:-none}
        for file in mem environ maps; do
            head -c 1 $runner/$file >/dev/null 2>&1 && echo $file=readable || echo $file=denied
        done
        ls -l $runner/fd >/dev/null 2>&1 && echo fd=readable || echo fd=denied
        env | grep -c '^COFFERDAM_' | sed 's/^/variables=/'
        "#,
    )
    .await;
    assert!(facts["runner"].starts_with("/proc/"), "{facts:?}");
    for file in ["mem", "environ", "maps", "fd"] {
        assert_eq!(facts[file], "denied", "{file}: {facts:?}");
    }
    assert_eq!(facts["variables"], "0", "the runner's variables are its own");
}

#[tokio::test]
async fn a_command_over_the_process_limit_ends_itself_and_not_the_session() {
    let home = TestHome::with_demo(&json!({"limits": {"pids": 100}})).await;
    let text = run(
        &home,
        "for i in $(seq 300); do sleep 30 & done 2>/dev/null; echo started; kill $(jobs -p) 2>/dev/null",
    )
    .await;
    assert!(!text.is_empty());
    assert!(home.admin().chat("demo", "Still there?").await.text().contains("Still there?"));
}

#[tokio::test]
async fn files_that_the_agent_makes_belong_to_the_daemons_person() {
    use std::os::unix::fs::MetadataExt;
    let home = TestHome::with_demo(&json!({})).await;
    run(&home, "mkdir -p a/b && echo x > a/b/c && echo made").await;
    let user = cofferdam::sandbox::mounts::container_user();
    let made = std::fs::metadata(home.folder("demo").join("workspace/a/b/c")).expect("made");
    assert_eq!((made.uid(), made.gid()), (user.uid, user.gid));
}
