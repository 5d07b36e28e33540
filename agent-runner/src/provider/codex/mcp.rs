//! MCP servers of the running thread: how they stand, waiting for them, and bringing back one that died.
//!
//! Codex starts them when a thread is opened and says how that goes; it says nothing when one dies later, only the
//! next call of its tools fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cofferdam_protocol::runner::{ActivityKind, EventBody, McpServer, McpState, McpStatus};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::jsonrpc::Notification;
use super::{method, told};
use crate::bounds::one_line;
use crate::outbox::{Outbox, TurnEvents};

/// How long codex may be silent about a server beyond the server's own time.
const BEYOND: Duration = Duration::from_secs(5);
/// How long codex may take to say how servers stand, or to take a reload (a few ms were seen).
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The time between two signs of life while waiting.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// The longest error, in characters.
const MAX_ERROR: usize = 400;

/// The MCP servers of one app-server's thread.
#[derive(Debug, Default)]
pub struct Mcp {
    /// Those that are configured.
    servers: Vec<McpServer>,
    heard: Option<UnboundedReceiver<Notification>>,
    /// How each stands in the thread that was opened last.
    states: BTreeMap<String, McpStatus>,
    /// What the host was told last of each.
    told: BTreeMap<String, McpState>,
    /// When the thread was opened; none once it was waited for.
    opened: Option<Instant>,
    /// Those that were asked about, and those that were started again, in this turn.
    asked: BTreeSet<String>,
    revived: BTreeSet<String>,
}

impl Mcp {
    /// For these servers; no process runs yet.
    pub fn new(servers: Vec<McpServer>) -> Self {
        Self { servers, ..Self::default() }
    }

    /// Hears of them from this process from now on.
    pub fn attach(&mut self, client: &Client) {
        self.heard = Some(client.subscribe_mcp());
    }

    /// How long a thread takes to open at most for its servers: codex waits for those that are required.
    pub fn longest_start(&self) -> Duration {
        let longest = self.servers.iter().map(|server| server.startup_timeout_secs).max();
        longest.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds) + BEYOND)
    }

    /// A thread is about to be opened, which starts them.
    pub fn opening(&mut self) {
        while let Some(heard) = &mut self.heard
            && heard.try_recv().is_ok()
        {}
        self.states.clear();
        self.opened = Some(Instant::now());
    }

    /// A turn begins: the host is told what changed meanwhile, and each server may be brought back once more.
    pub fn turn_begins(&mut self, events: &TurnEvents) {
        self.asked.clear();
        self.revived.clear();
        while let Some(notification) = self.heard.as_mut().and_then(|heard| heard.try_recv().ok()) {
            if let Some(state) = self.hear(&notification) {
                tell(events, state);
            }
        }
    }

    /// Waits until each configured server of a thread that was just opened is ready or has failed, or its time is
    /// over. Ends at once when interrupted, where the next turn waits on, and when the app-server is gone, which is no
    /// failure of theirs.
    pub async fn started(&mut self, events: &TurnEvents, interrupt: &CancellationToken) {
        let Some(opened) = self.opened else { return };
        let mut alive = Instant::now() + ALIVE_EVERY;
        while let Some(deadline) = self.pending_until(opened, events) {
            tokio::select! {
                state = self.next() => match state {
                    Some(state) => tell(events, state),
                    None => return,
                },
                () = tokio::time::sleep_until(deadline.min(alive)) => {
                    events.activity(ActivityKind::Alive, "");
                    alive = Instant::now() + ALIVE_EVERY;
                }
                () = interrupt.cancelled() => return,
            }
        }
        self.opened = None;
    }

    /// When the next server's time is over; none when all have said how they stand. One whose time is over has failed.
    fn pending_until(&mut self, opened: Instant, events: &TurnEvents) -> Option<Instant> {
        let mut first = None;
        for at in 0..self.servers.len() {
            let McpServer { name, startup_timeout_secs } = &self.servers[at];
            if matches!(self.states.get(name), Some(McpStatus::Ready | McpStatus::Failed)) {
                continue;
            }
            let deadline = opened + Duration::from_secs(*startup_timeout_secs) + BEYOND;
            if deadline > Instant::now() {
                first = Some(first.map_or(deadline, |first: Instant| first.min(deadline)));
                continue;
            }
            let error = format!("codex did not say that it started within {startup_timeout_secs} s");
            let state = failed(name, Some(&error));
            if let Some(state) = self.note(state) {
                tell(events, state);
            }
        }
        first
    }

    /// The next change. Nothing is lost when it is dropped.
    pub async fn changed(&mut self) -> McpState {
        match self.next().await {
            Some(state) => state,
            None => std::future::pending().await,
        }
    }

    /// The next change; none when the app-server is gone.
    async fn next(&mut self) -> Option<McpState> {
        loop {
            let Some(notification) = self.heard.as_mut()?.recv().await else {
                self.heard = None;
                return None;
            };
            if let Some(state) = self.hear(&notification) {
                return Some(state);
            }
        }
    }

    /// A call of this server failed in this way. One that is dead is started again, once in a turn; how that goes is
    /// heard as at the start.
    pub fn call_failed(&mut self, client: &Client, thread: &str, server: &str, error: &str, events: &TurnEvents) {
        let closed = error.contains("Transport closed");
        let first = if closed { &mut self.revived } else { &mut self.asked };
        if !first.insert(server.to_owned()) {
            return;
        }
        if closed {
            tell(events, self.died(server));
        }
        let (client, events) = (client.clone(), events.clone());
        let (thread, server) = (thread.to_owned(), server.to_owned());
        // On its own: the turn's other events must not wait for it.
        tokio::spawn(async move {
            if !closed {
                if !is_dead(&client, &thread, &server).await {
                    return;
                }
                tell(&events, failed(&server, Some(DIED)));
            }
            tracing::warn!(server, "an MCP server died; it is started again");
            let reloaded = client.request::<IgnoredAny>(method::MCP_RELOAD, &(), REQUEST_LIMIT).await;
            if let Err(error) = reloaded {
                tracing::warn!(server, error = told(&error), "codex does not start an MCP server again");
            }
        });
    }

    /// After a turn: waits a moment for servers that it started again, so that the host knows how they stand.
    pub async fn settled(&mut self, outbox: &Outbox, interrupt: &CancellationToken) {
        /// 60 ms were seen; what comes later is told by the next turn.
        const MOMENT: Duration = Duration::from_secs(2);
        let waiting = async {
            while self.revived.iter().any(|name| self.is_starting(name)) {
                let Some(state) = self.next().await else { return };
                outbox.put(None, EventBody::Mcp(state));
            }
        };
        tokio::select! {
            () = waiting => {}
            () = tokio::time::sleep(MOMENT) => {}
            () = interrupt.cancelled() => {}
        }
    }

    fn is_starting(&self, name: &str) -> bool {
        let starting =
            |state: &McpState| state.status == McpStatus::Starting || state.error.as_deref() == Some(DIED);
        self.told.get(name).is_some_and(starting)
    }

    fn died(&mut self, server: &str) -> McpState {
        let state = failed(server, Some(DIED));
        self.states.insert(state.name.clone(), state.status);
        self.told.insert(state.name.clone(), state.clone());
        state
    }

    /// What a notification changes, if it does.
    fn hear(&mut self, notification: &Notification) -> Option<McpState> {
        match serde_json::from_str::<McpStartup>(notification.params.get()) {
            Ok(startup) => self.note(state(&startup)?),
            Err(error) => {
                tracing::warn!(%error, method = notification.method, "a notification from codex is malformed");
                None
            }
        }
    }

    /// Keeps a state; it comes back when the host does not have it yet.
    fn note(&mut self, state: McpState) -> Option<McpState> {
        self.states.insert(state.name.clone(), state.status);
        let known = self.told.insert(state.name.clone(), state.clone());
        (known.as_ref() != Some(&state)).then_some(state)
    }
}

/// What is said of a server whose calls found it closed.
const DIED: &str = "it ended by itself; it is started again";

fn tell(events: &TurnEvents, state: McpState) {
    events.session(EventBody::Mcp(state));
}

fn failed(name: &str, error: Option<&str>) -> McpState {
    McpState { name: name.to_owned(), status: McpStatus::Failed, error: error.map(plain) }
}

fn state(startup: &McpStartup) -> Option<McpState> {
    let status = match startup.status.as_str() {
        "starting" => McpStatus::Starting,
        "ready" => McpStatus::Ready,
        "failed" => McpStatus::Failed,
        "cancelled" => return Some(failed(&startup.name, Some("its start was cancelled"))),
        other => {
            tracing::warn!(
                server = startup.name,
                status = other,
                "an MCP server stands in a way that is not known"
            );
            return None;
        }
    };
    Some(McpState { name: startup.name.clone(), status, error: startup.error.as_deref().map(plain) })
}

/// Codex's words without the backtrace, and without advice about a file that is not the user's.
fn plain(error: &str) -> String {
    let ends = ["Stack backtrace:", " Add or adjust `startup_timeout_sec`"];
    let end = ends.iter().filter_map(|end| error.find(end)).min().unwrap_or(error.len());
    one_line(&without_types(&error[..end]), MAX_ERROR)
}

/// Codex names Rust types in brackets, at length, in front of what people can use.
fn without_types(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(begin) = rest.find('[') {
        let depth = |depth: &mut i32, c: char| {
            *depth += i32::from(c == '[') - i32::from(c == ']');
            Some(*depth)
        };
        let length = rest[begin..].chars().scan(0, depth).take_while(|depth| *depth > 0).count();
        let end = rest[begin..].char_indices().nth(length).map_or(rest.len(), |(at, c)| begin + at + c.len_utf8());
        kept.push_str(&rest[..begin]);
        let within = &rest[begin..end];
        if !within.contains("::") {
            kept.push_str(within);
        }
        rest = &rest[end..];
    }
    kept + rest
}

/// Whether codex itself says that the server is dead.
async fn is_dead(client: &Client, thread: &str, server: &str) -> bool {
    let params = McpStatusParams {
        thread_id: thread.to_owned(),
        server_name: server.to_owned(),
        detail: "toolsAndAuthOnly",
    };
    match client.request::<McpStatusAnswer>(method::MCP_STATUS, &params, REQUEST_LIMIT).await {
        Ok(answer) => answer
            .data
            .iter()
            .any(|status| status.name == server && status.runtime_status.as_deref() == Some("failed")),
        Err(error) => {
            tracing::warn!(server, error = told(&error), "codex does not say how an MCP server stands");
            false
        }
    }
}

/// Why a thread could not be opened, if that is a server that the group requires: words for people.
pub fn required(message: &str) -> Option<String> {
    let (_, why) = message.split_once("required MCP servers failed to initialize: ")?;
    let (name, why) = why.split_once(": ").unwrap_or((why, "no reason given"));
    Some(format!("the MCP server '{name}' is required and did not start: {}", plain(why)))
}

/// Parameters of [`method::MCP_STATUS`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct McpStatusParams {
    /// The thread whose server is asked for; without both of these codex starts servers only to ask them.
    pub thread_id: String,
    /// The server.
    pub server_name: String,
    /// No more than names and tools.
    pub detail: &'static str,
}

/// The answer to [`method::MCP_STATUS`].
#[derive(Debug, Deserialize)]
pub struct McpStatusAnswer {
    /// The servers.
    pub data: Vec<McpServerStatus>,
}

/// How an MCP server stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// Its name.
    pub name: String,
    /// `connected` or `failed`.
    pub runtime_status: Option<String>,
}

/// An MCP server stands otherwise than before.
#[derive(Debug, Deserialize)]
pub struct McpStartup {
    /// Its name.
    pub name: String,
    /// `starting`, `ready`, `failed` or `cancelled`.
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::ids::TurnId;
    use serde_json::{Value, json};

    use super::*;
    use crate::outbox::Outbox;

    fn hear(mcp: &mut Mcp, status: &str, error: Value) -> Option<McpState> {
        let params = json!({"threadId": "t", "name": "s", "status": status, "error": error, "failureReason": null});
        let params = serde_json::value::to_raw_value(&params).unwrap();
        mcp.hear(&Notification { method: method::MCP_STARTUP.into(), params })
    }

    #[test]
    fn the_same_state_is_told_once() {
        let mut mcp = Mcp::default();
        assert_eq!(hear(&mut mcp, "starting", Value::Null).unwrap().status, McpStatus::Starting);
        assert_eq!(hear(&mut mcp, "ready", Value::Null).unwrap().status, McpStatus::Ready);
        assert_eq!(hear(&mut mcp, "ready", Value::Null), None);
        assert_eq!(hear(&mut mcp, "cancelled", Value::Null).unwrap().status, McpStatus::Failed);
        assert_eq!(hear(&mut mcp, "dancing", Value::Null), None);
    }

    #[tokio::test]
    async fn nobody_waits_for_the_servers_of_an_app_server_that_is_gone() {
        let server = McpServer { name: "s".into(), startup_timeout_secs: 3600 };
        let mut mcp = Mcp::new(vec![server]);
        let (here, there) = tokio::io::duplex(64);
        let (reader, writer) = tokio::io::split(here);
        assert_eq!(mcp.longest_start(), Duration::from_secs(3605));
        mcp.attach(&Client::new(reader, writer));
        mcp.opening();
        let events = TurnEvents::new(Outbox::default(), TurnId(1));
        drop(there);
        mcp.started(&events, &CancellationToken::new()).await;
        assert!(mcp.states.is_empty(), "nothing false is told: {:?}", mcp.states);
    }

    #[test]
    fn errors_name_no_types() {
        let error =
            "failed: Send message error Transport [a::b<c::d<[u8]>>] error: refused [os error 111], when [x::y";
        assert_eq!(plain(error), "failed: Send message error Transport error: refused [os error 111], when");
    }

    #[test]
    fn errors_are_short_and_without_advice_about_our_files() {
        let mut mcp = Mcp::default();
        let error =
            "MCP client for `s` timed out after 2 seconds. Add or adjust `startup_timeout_sec` in your config";
        let state = hear(&mut mcp, "failed", error.into()).unwrap();
        assert_eq!(state.error.unwrap(), "MCP client for `s` timed out after 2 seconds.");
        assert_eq!(plain("Transport closed\n\nStack backtrace:\n 0: <unknown>"), "Transport closed");
    }

    #[test]
    fn a_required_server_that_failed_is_named() {
        let message = "error creating thread: Fatal error: Failed to initialize session: required MCP servers failed \
            to initialize: req: handshaking with MCP server failed: connection closed";
        assert_eq!(
            required(message).unwrap(),
            "the MCP server 'req' is required and did not start: handshaking with MCP server failed: connection closed"
        );
        assert_eq!(required("no rollout found"), None);
    }
}
