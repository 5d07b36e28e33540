//! The host's side of a running turn: its orders, and its tools.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use cofferdam_protocol::ids::{MessageId, TurnId};
use cofferdam_protocol::runner::*;
use http_body_util::Full;
use hyper::Response;
use tokio::sync::Notify;

use super::door::{LIMIT, message, refusal};
use super::http::json;

#[derive(Default)]
struct State {
    interrupts: Vec<TurnId>,
    steer: Vec<(TurnId, BatchMessage)>,
    asked: Vec<ControlRequest>,
    /// Refuse control with this status.
    refuse_control: Option<u16>,
    calls: Vec<ToolCall>,
    /// Tools answer only what the test answers.
    hold: bool,
    /// So many calls are told to call again.
    pending: u32,
    /// Refuse the tools with this status.
    refuse_tools: Option<u16>,
    answers: HashMap<String, (bool, String)>,
}

#[derive(Default)]
pub struct Orders {
    state: Mutex<State>,
    changed: Notify,
}

impl Orders {
    /// Stops a turn, as `/stop` does.
    pub fn interrupt(&self, turn: TurnId) {
        self.change(|state| state.interrupts.push(turn));
    }

    /// Offers messages to a turn at once; the answer is their ids.
    pub fn steer(&self, turn: TurnId, texts: &[&str]) -> Vec<MessageId> {
        let mut ids = Vec::new();
        self.change(|state| {
            for text in texts {
                let message = message(900 + state.steer.len() as i64, text);
                ids.push(message.id);
                state.steer.push((turn, message));
            }
        });
        ids
    }

    /// The same with an image.
    pub fn steer_with(&self, turn: TurnId, text: &str, image: &Path) -> MessageId {
        let file = InboundFile { path: image.to_str().unwrap().into(), bytes: 69, image: true };
        let message = BatchMessage { files: vec![file], ..message(990, text) };
        self.change(|state| state.steer.push((turn, message)));
        MessageId(990)
    }

    pub fn refuse_control(&self, status: u16) {
        self.change(|state| state.refuse_control = Some(status));
    }

    /// From now on a tool answers only when the test does.
    pub fn hold_tools(&self) {
        self.change(|state| state.hold = true);
    }

    /// So many calls are answered with "call again".
    pub fn pend_tools(&self, times: u32) {
        self.change(|state| state.pending = times);
    }

    pub fn refuse_tools(&self, status: u16) {
        self.change(|state| state.refuse_tools = Some(status));
    }

    /// Answers a held call.
    pub fn answer(&self, call_id: &str, success: bool, text: &str) {
        self.change(|state| drop(state.answers.insert(call_id.into(), (success, text.into()))));
    }

    pub fn tool_calls(&self) -> Vec<ToolCall> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Waits until a tool was called so often; the answer is all calls.
    pub async fn tools_called(&self, count: usize) -> Vec<ToolCall> {
        self.wait(|state| (state.calls.len() >= count).then(|| state.calls.clone())).await
    }

    pub async fn control(&self, request: ControlRequest) -> Response<Full<Bytes>> {
        self.change(|state| state.asked.push(request.clone()));
        let control = self
            .wait(|state| {
                if let Some(status) = state.refuse_control {
                    return Some(Err(status));
                }
                let news = |(turn, message): &(TurnId, BatchMessage)| {
                    (*turn == request.turn && !request.offered.contains(&message.id)).then(|| message.clone())
                };
                let interrupt = state.interrupts.contains(&request.turn);
                let control = Control { interrupt, steer: state.steer.iter().filter_map(news).collect() };
                ((interrupt && !request.interrupted) || !control.steer.is_empty()).then_some(Ok(control))
            })
            .await;
        control.map_or_else(|status| refusal(status, "refused by the test"), |control| json(200, &control))
    }

    pub async fn tool(&self, call: ToolCall) -> Response<Full<Bytes>> {
        let mut pending = false;
        self.change(|state| {
            state.calls.push(call.clone());
            pending = state.pending > 0;
            state.pending = state.pending.saturating_sub(1);
        });
        if pending {
            return json(200, &ToolAnswer::Pending);
        }
        let answer = self
            .wait(|state| match (state.refuse_tools, state.answers.get(&call.call_id)) {
                (Some(status), _) => Some(Err(status)),
                (_, Some((success, text))) => Some(Ok(ToolAnswer::Done { success: *success, text: text.clone() })),
                (_, None) if state.hold => None,
                (_, None) => {
                    let text = format!("{} did {}", call.tool, call.arguments);
                    Some(Ok(ToolAnswer::Done { success: true, text }))
                }
            })
            .await;
        answer.map_or_else(|status| refusal(status, "refused by the test"), |answer| json(200, &answer))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
    }

    /// Waits for as long as it takes in a call of the runner, and for a test no longer than [`LIMIT`].
    async fn wait<T>(&self, found: impl Fn(&State) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = found(&self.state.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("the runner does what the test waits for")
    }
}
