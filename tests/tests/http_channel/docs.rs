//! The commands of docs/channels/http.md, as they stand there.

use std::process::Stdio;

use cofferdam::channels::http::book::HookFormat;
use tokio::process::Command;

use super::agent::SECRET;
use super::world::World;

const PAGE: &str = include_str!("../../../docs/channels/http.md");

/// Runs a block of the page; what it prints.
async fn run(world: &World, key: &str, block: &str) -> String {
    let ran = Command::new("bash")
        .args(["-euo", "pipefail", "-c", block])
        .env("URL", &world.url)
        .env("SECRET", SECRET)
        .env("KEY", key)
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("bash, with curl and openssl");
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "it needs curl and openssl (on Debian: apt-get install both)\n{block}\n{error}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[tokio::test]
async fn the_pages_commands_do_what_it_says() {
    let world = World::start().await;
    world.agent.hook("ci", HookFormat::Plain);
    let key = world.agent.key("k");
    let blocks: Vec<&str> =
        PAGE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("a block")).collect();
    let wanted = [
        "{\"status\":\"accepted\"}",
        "{\"reply\":\"You said: Is all well?\"}",
        "\"content\":\"You said: Hello\"",
        "event: response.completed",
    ];
    assert_eq!(blocks.len(), wanted.len());
    for (block, wanted) in blocks.into_iter().zip(wanted) {
        let printed = run(&world, &key, block).await;
        assert!(printed.contains(wanted), "{block}\n{printed}");
    }
    assert_eq!(world.agent.texts(), ["The build of main broke.", "Is all well?", "Hello", "Hello"]);
    assert_eq!(world.agent.threads()[0], "build-7");
}
