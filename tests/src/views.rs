//! What people look at: sessions in depth and as they go on, wirings.

use cofferdam_protocol::admin::{ErrorBody, FollowEvent, SessionDetail, TurnDiff, Wiring, WiringChange};
use cofferdam_protocol::ids::{SessionId, TurnId};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::LIMIT;
use crate::admin::{Admin, checked};

impl Admin {
    /// A session in depth.
    pub async fn detail(&self, id: &SessionId) -> SessionDetail {
        self.get(&format!("/v1/sessions/{id}")).await
    }

    /// What a turn changed in files; the newest turn's without a number.
    pub async fn diff(&self, id: &SessionId, turn: Option<TurnId>) -> Result<TurnDiff, ErrorBody> {
        let query = turn.map(|turn| format!("?turn={turn}")).unwrap_or_default();
        let call = self.client.get(format!("http://cofferdam/v1/sessions/{id}/diff{query}")).timeout(LIMIT);
        let answer = checked(call.send().await.expect("the daemon answers")).await?;
        Ok(answer.json().await.expect("a diff"))
    }

    /// All wirings.
    pub async fn wirings(&self) -> Vec<Wiring> {
        self.get("/v1/wirings").await
    }

    /// Switches the progress of a terminal chat.
    pub async fn set_progress(&self, chat: &str, progress: bool) -> Result<Wiring, ErrorBody> {
        let change = WiringChange {
            channel: "terminal".into(),
            chat_id: chat.into(),
            progress: Some(progress),
            ..WiringChange::default()
        };
        let call = self.client.patch("http://cofferdam/v1/wirings").json(&change).timeout(LIMIT);
        let answer = checked(call.send().await.expect("the daemon answers")).await?;
        Ok(answer.json().await.expect("a wiring"))
    }

    /// Follows a session; `query` says from where, such as `?attempt=1&offset=0`.
    pub async fn follow(&self, id: &SessionId, query: &str) -> Follow {
        let call = self.client.get(format!("http://cofferdam/v1/sessions/{id}/follow{query}"));
        let answer = checked(call.send().await.expect("the daemon answers")).await.expect("followed");
        let body = answer.bytes_stream().map(|piece| piece.ok().map(|bytes| bytes.to_vec())).boxed();
        Follow { body, buffer: Vec::new(), events: Vec::new() }
    }
}

/// A session as it goes on.
pub struct Follow {
    body: BoxStream<'static, Option<Vec<u8>>>,
    buffer: Vec<u8>,
    /// What came so far.
    pub events: Vec<FollowEvent>,
}

impl Follow {
    /// Reads up to the first event that is wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&FollowEvent) -> bool) -> FollowEvent {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let event: FollowEvent = serde_json::from_slice(&line).expect("an event");
                self.events.push(event.clone());
                if wanted(&event) {
                    return event;
                }
            }
            let piece = tokio::time::timeout(LIMIT, self.body.next()).await;
            match piece.unwrap_or_else(|_| panic!("{what} never came: {:#?}", self.events)) {
                Some(Some(piece)) => self.buffer.extend(piece),
                Some(None) | None => panic!("the stream ended before {what}: {:#?}", self.events),
            }
        }
    }

    /// Reads up to a line of the log that has these words.
    pub async fn until_logged(&mut self, words: &str) -> FollowEvent {
        self.until(words, |event| matches!(event, FollowEvent::Log { line, .. } if line.contains(words))).await
    }

    /// Reads up to the end of a turn.
    pub async fn until_ended(&mut self) -> FollowEvent {
        self.until("a turn's end", |event| matches!(event, FollowEvent::Ended { .. })).await
    }
}
