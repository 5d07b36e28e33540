//! Channels that are changed while they run, with real programs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam::channels::{Channels, State, exec};
use cofferdam::config::home::Home;
use cofferdam::config::vault_key::VaultKey;
use cofferdam::delivery::Delivery;
use cofferdam::desk::{Desk, Stillness, Tells};
use cofferdam::gateway::Accounts;
use cofferdam::gateway::accounts::Sources;
use cofferdam::model::channel::KindName;
use cofferdam::model::chat::ChatRef;
use cofferdam::store::Stores;
use cofferdam::store::channels::ChannelRow;
use cofferdam::store::group::outbox::NextReply;
use cofferdam::store::posts::NewPost;
use cofferdam::switchboard::{Board, ChannelError, NewChannel, Switchboard};
use cofferdam::trust::Trust;
use cofferdam::vault::issuer::{Address, Issuer};
use cofferdam::vault::{Refresher, Vault};
use cofferdam_tests::eventually;
use serde_json::json;
use tempfile::TempDir;

/// Notes when another of it is alive. Waits with its end until it may.
const PROGRAM: &str = r##"
import json, os, sys, time
def say(**line): print(json.dumps(line), flush=True)
def hear(): return json.loads(sys.stdin.readline() or '{"type":"gone"}')
start = hear()
home = start["state_dir"] + "/"
def note(name, text):
    with open(home + name + ".new", "w") as file: file.write(text)
    os.rename(home + name + ".new", home + name)
try: os.close(os.open(home + "alive", os.O_CREAT | os.O_EXCL))
except FileExistsError: note("twice", "yes")
if start["settings"].get("bad"):
    os.unlink(home + "alive")
    sys.exit("a bad setting")
say(type="hello", protocol=1, abilities={}, text={"markup": "plain", "limit": 400, "measure": "bytes"}, who="a test")
while (line := hear())["type"] not in ("stop", "gone"):
    if line["type"] == "send": note("sent", json.dumps(line))
    if "call" in line: say(type="done", call=line["call"], id="m%d" % line["call"], text="it is me")
if start["settings"].get("slow"):
    note("stopping", "yes")
    while not os.path.exists(home + "go"): time.sleep(0.01)
os.unlink(home + "alive")
"##;

struct Stage {
    dir: TempDir,
    stores: Stores,
    channels: Channels,
    switchboard: Switchboard,
}

impl Stage {
    async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cofferdam-board-").tempdir().expect("a directory");
        std::fs::write(dir.path().join("program.py"), PROGRAM).expect("written");
        std::fs::create_dir(dir.path().join("data")).expect("a directory");
        let home = Home::new(dir.path()).expect("a home");
        let stores = Stores::open(home.clone()).expect("stores");
        let issuer = Issuer::new(Address::of_vendor(), &Trust::MACHINE).expect("an issuer");
        let secrets = Accounts::new(Sources {
            central: stores.central().clone(),
            vault: Vault::new(&home, "install", &VaultKey::default()),
            refresher: Refresher::new(issuer, home.logins()).expect("a directory"),
            environment: None,
            named: None,
            trust: Trust::MACHINE,
        });
        let channels = Channels::default();
        let tells = Tells {
            accepted: Box::new(|_, _| {}),
            deliver: Box::new(|_| {}),
            post: Box::new(|_| {}),
            still: Box::new(|_| Box::pin(async { Box::new(()) as Stillness })),
        };
        let switchboard = Switchboard::new(Board {
            home: home.clone(),
            stores: stores.clone(),
            secrets: secrets.expect("accounts"),
            channels: channels.clone(),
            desk: Desk::new(home, stores.clone(), channels.clone(), tells),
            trust: Trust::MACHINE,
            changed: Box::new(|| {}),
        });
        switchboard.start().await;
        Self { dir, stores, channels, switchboard }
    }

    async fn put(&self, settings: serde_json::Value) -> Result<String, ChannelError> {
        let command = json!(["python3", self.dir.path().join("program.py")]);
        let settings = Some(json!({"command": command, "settings": settings}));
        self.switchboard.put(NewChannel { name: "prog".into(), kind: &exec::KIND, settings, secret: None }).await
    }

    fn note(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/channels/prog/program").join(name)
    }

    async fn notes(&self, name: &str) {
        eventually(name, || async { self.note(name).exists().then_some(()) }).await;
    }

    async fn there(&self) {
        let is_there = || self.channels.get("prog").filter(|channel| channel.is_there(&chat())).map(drop);
        eventually("the program is there", || async { is_there() }).await;
    }

    fn delivery(&self) -> Delivery {
        Delivery::new(self.stores.clone(), self.channels.clone(), Default::default(), true)
    }

    async fn close(self) {
        self.switchboard.stop_intake();
        self.switchboard.close().await;
        self.stores.close().await;
    }
}

fn chat() -> ChatRef {
    ChatRef { channel: "prog".into(), chat_id: "#c".into(), thread_id: None }
}

#[tokio::test]
async fn what_is_due_while_a_channel_is_changed_waits_for_it() {
    let stage = Arc::new(Stage::new().await);
    std::fs::create_dir_all(stage.note("")).expect("a directory");
    std::fs::write(stage.note("go"), "").expect("written");
    stage.put(json!({"slow": true})).await.expect("kept");
    stage.there().await;
    for name in ["go", "stopping"] {
        std::fs::remove_file(stage.note(name)).expect("it was there");
    }
    let changing = stage.clone();
    let change = tokio::spawn(async move { changing.put(json!({})).await });
    stage.notes("stopping").await;
    stage.stores.central().post(NewPost::new(chat(), "words")).await.expect("posted");
    let delivery = stage.delivery();
    delivery.look_own(chat());
    // It ends when nobody has anything to do any more.
    delivery.shutdown(Duration::from_secs(60)).await;
    let next = stage.stores.central().next_post(&chat()).await.expect("read");
    assert!(matches!(next, NextReply::Due), "it was not given up: {next:?}");
    std::fs::write(stage.note("go"), "").expect("written");
    change.await.expect("no panic").expect("changed");
    stage.there().await;
    let delivery = stage.delivery();
    delivery.look_own(chat());
    stage.notes("sent").await;
    delivery.shutdown(Duration::from_secs(60)).await;
    let stage = Arc::into_inner(stage).expect("the only one");
    assert!(stage.switchboard.remove("prog").await.expect("removed"));
    assert!(stage.channels.get("prog").is_none(), "only a removal takes it out");
    stage.close().await;
}

#[tokio::test]
async fn a_program_is_never_there_twice_and_goes_on_when_a_change_of_it_fails() {
    let stage = Stage::new().await;
    assert_eq!(stage.put(json!({})).await.expect("kept"), "it is me");
    stage.there().await;
    assert_eq!(stage.put(json!({"nick": "other"})).await.expect("changed"), "it is me");
    stage.there().await;
    let error = stage.put(json!({"bad": true})).await.expect_err("its trial fails");
    assert!(matches!(&error, ChannelError::Test { .. }), "{error:?}");
    stage.there().await;
    assert_eq!(stage.switchboard.test("prog").await.expect("it runs"), "it is me");
    assert_eq!(
        stage.switchboard.unfit_id("prog", "#lab").await.expect("looked"),
        None,
        "its program knows its chats"
    );
    assert!(!stage.note("twice").exists(), "two were alive at once");
    let row = stage.switchboard.list().await.expect("listed").remove(0).row;
    assert!(row.settings.contains("other"), "as it was: {}", row.settings);
    stage.close().await;
}

#[tokio::test]
async fn a_channel_of_a_kind_that_is_not_known_keeps_no_other_from_running() {
    let stage = Stage::new().await;
    let (name, kind) = ("later".to_owned(), KindName::of("of-tomorrow"));
    let row = ChannelRow { name, kind, settings: "{}".to_owned(), created_at: 0 };
    assert!(stage.stores.central().put_channel(row, None).await.expect("kept"));
    stage.switchboard.look().await;
    assert_eq!(stage.put(json!({})).await.expect("kept"), "it is me");
    stage.there().await;
    let later = stage.switchboard.list().await.expect("listed").remove(0);
    let Some(State::Stopped { why }) = later.state else { panic!("{later:?}") };
    assert!(why.contains("'of-tomorrow'") && why.contains("`cofferdam channel remove later`"), "{why}");
    assert_eq!(stage.switchboard.lacks("later").await.expect("read"), Some(why));
    assert!(!stage.channels.get("later").expect("its place is held").is_there(&chat()), "what is due waits");
    let error = stage.switchboard.test("later").await.expect_err("nobody knows how");
    assert!(matches!(error, ChannelError::UnknownKind { .. }), "{error:?}");
    assert!(stage.switchboard.remove("later").await.expect("removed"));
    stage.close().await;
}
