//! Answers as they come: server-sent events of either API.

use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response as HttpResponse};
use bytes::Bytes;
use cofferdam_protocol::runner::Usage;
use futures_util::stream;

use super::super::places::Place;
use super::super::waiting::{Call, News, Over};
use super::asked::Prints;
use super::chat::Completion;
use super::conversation::Shelf;
use super::error::ApiError;
use super::responses::Response;
use super::said::Said;
use super::unnoted;

/// The words of either API.
pub(super) enum Script {
    Chat(Completion),
    Responses(Response),
}

impl Script {
    fn begins(&mut self) -> String {
        match self {
            Self::Chat(completion) => completion.begins(),
            Self::Responses(response) => response.begins(),
        }
    }

    fn says(&mut self, words: &str) -> String {
        match self {
            _ if words.is_empty() => String::new(),
            Self::Chat(completion) => completion.says(words),
            Self::Responses(response) => response.says(words),
        }
    }

    fn ends(&mut self, text: &str, usage: Usage) -> String {
        match self {
            Self::Chat(completion) => completion.ends(usage),
            Self::Responses(response) => response.ends(text, usage),
        }
    }

    fn fails(&mut self, error: &ApiError) -> String {
        match self {
            Self::Chat(completion) => completion.fails(error),
            Self::Responses(response) if error.is_final => response.fails(&error.message),
            Self::Responses(response) => response.breaks(error),
        }
    }

    /// An answer that is there at once.
    pub(super) fn at_once(mut self, text: &str) -> HttpResponse {
        let events = [self.begins(), self.says(text), self.ends(text, Usage::default())].concat();
        events_of(Body::from(events))
    }
}

/// What was asked, and where; its end is noted there.
pub(super) struct Noted {
    pub(super) shelf: Shelf,
    pub(super) thread: String,
    pub(super) prints: Prints,
}

impl Noted {
    /// Notes how a call ended; answers the error that its caller is told.
    pub(super) async fn end(&self, answer: Result<&str, &Over>) -> Result<(), ApiError> {
        match answer {
            Ok(text) => self.shelf.answered(&self.thread, &self.prints, text).await,
            Err(Over::Failed(notice)) => {
                self.shelf.failed(&self.thread, &self.prints).await?;
                Err(ApiError::agent(notice))
            }
            Err(Over::Closed) => Err(ApiError::unavailable("Cofferdam is ending; the agent goes on, call again")),
            Err(_) => Err(ApiError::late()),
        }
    }
}

struct Streamed {
    script: Script,
    call: Call,
    noted: Noted,
    said: Said,
    keep_alive: Duration,
    begun: bool,
    /// The caller's place, until its stream ends or it leaves.
    _place: std::sync::Arc<Place>,
}

/// The answer to a call, as it comes. Whoever drops it leaves: only the waiting ends.
pub(super) fn answer(
    script: Script,
    (call, noted): (Call, Noted),
    keep_alive: Duration,
    place: std::sync::Arc<Place>,
) -> HttpResponse {
    let streamed = Streamed { script, call, noted, said: Said::default(), keep_alive, begun: false, _place: place };
    let events = stream::unfold(Some(streamed), |streamed| async {
        let mut streamed = streamed?;
        let (events, is_last) = streamed.next().await;
        let left = (!is_last).then_some(streamed);
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(events)), left))
    });
    events_of(Body::from_stream(events))
}

impl Streamed {
    /// The next events; whether they are the last.
    async fn next(&mut self) -> (String, bool) {
        if !self.begun {
            self.begun = true;
            return (self.script.begins(), false);
        }
        loop {
            let words = match self.call.next(self.keep_alive).await {
                Ok(News::Quiet) => return (": the agent works\n\n".to_owned(), false),
                Ok(News::Draft(draft)) => self.said.draft(&draft),
                Ok(News::Said(text)) => self.said.reply(&text),
                Ok(News::Over(over)) => return (self.end(over).await, true),
                Err(why) => return (self.script.fails(&ApiError::book(&why)), true),
            };
            let events = self.script.says(words);
            if !events.is_empty() {
                return (events, false);
            }
        }
    }

    async fn end(&mut self, over: Over) -> String {
        let Over::Said(answer) = &over else {
            let noted = self.noted.end(Err(&over)).await;
            return self.script.fails(&noted.err().unwrap_or_else(ApiError::late));
        };
        let events = self.script.says(self.said.finish(&answer.texts));
        // The answer is there, whatever could not be noted.
        unnoted(self.noted.end(Ok(self.said.text())).await);
        events + &self.script.ends(self.said.text(), answer.usage)
    }
}

fn events_of(body: Body) -> HttpResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        // What nginx holds back otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}
