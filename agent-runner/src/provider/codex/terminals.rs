//! Commands that a turn leaves running: ended, and heard to have ended.
//!
//! Codex answers when it has only begun to end them. Each was killed when codex says that its item is complete; until the
//! kernel has removed its process some milliseconds can pass.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc::UnboundedReceiver;

use super::client::Client;
use super::jsonrpc::Notification;
use super::protocol::CleanParams;
use super::{method, told};

/// How long codex may take to answer (a few ms were seen).
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How long codex may take to say so of all of them (up to 50 ms were seen).
const GONE_LIMIT: Duration = Duration::from_secs(2);

/// Ends the thread's commands, and says whether there may have been some. Bounded in time; what could not be done is
/// logged.
pub async fn end(client: &Client, thread: &str, notifications: &mut UnboundedReceiver<Notification>) -> bool {
    let params = CleanParams { thread_id: thread.to_owned() };
    let running = client.request::<TerminalsAnswer>(method::TERMINALS_LIST, &params, REQUEST_LIMIT).await;
    let unknown = running.is_err();
    let running = running.map(|answer| answer.data).unwrap_or_else(|error| {
        tracing::warn!(error = told(&error), "codex does not say which commands still run");
        Vec::new()
    });
    let any = unknown || !running.is_empty();
    let mut running: BTreeSet<_> = running.into_iter().map(|terminal| terminal.item_id).collect();
    let cleaned = client.request::<IgnoredAny>(method::TERMINALS_CLEAN, &params, REQUEST_LIMIT).await;
    if let Err(error) = cleaned {
        tracing::warn!(error = told(&error), "left-over commands could not be ended");
        return any;
    }
    let all_gone = async {
        while !running.is_empty() {
            let Some(notification) = notifications.recv().await else { return };
            if let Some(id) = completed(&notification) {
                running.remove(&id);
            }
        }
    };
    if tokio::time::timeout(GONE_LIMIT, all_gone).await.is_err() {
        tracing::warn!(?running, "codex does not say that all left-over commands have ended");
    }
    any
}

fn completed(notification: &Notification) -> Option<String> {
    if notification.method != method::ITEM_COMPLETED {
        return None;
    }
    let completed: Completed = serde_json::from_str(notification.params.get()).ok()?;
    Some(completed.item.id)
}

/// The answer to [`method::TERMINALS_LIST`].
#[derive(Debug, Deserialize)]
pub struct TerminalsAnswer {
    /// The commands that run.
    pub data: Vec<Terminal>,
}

/// A command that runs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terminal {
    /// The item that it is of some turn.
    pub item_id: String,
}

#[derive(Deserialize)]
struct Completed {
    item: super::protocol::Named,
}
