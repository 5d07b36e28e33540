//! The host's tools, as a session's agent calls them.
//!
//! Each call is a task of its own, so that a large file or a slow person never holds the actor up. The rows decide: a
//! call that comes again, after a lost answer or a restart, is answered from them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_protocol::ids::{Folder, SessionId};
use cofferdam_protocol::runner::{InboundFile, ToolAnswer, ToolCall};
use jiff::tz::TimeZone;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Inner;
use super::actor::Actor;
use super::turns::refused;
use crate::config::zone::local_time;
use crate::door::Refused;
use crate::error_chain;
use crate::files;
use crate::model::action::{Abilities, Action, SentFile};
use crate::model::chat::{Attachment, ChatRef, Due};
use crate::sandbox::mounts;
use crate::store::group::questions::{NewQuestion, Waiting};
use crate::store::group::tools::{CallKey, CallLimits, Called, Deed, Known, NewCall};
use crate::store::{GroupDb, now_ms};
use crate::tools::args::{self, Wish, Wrong};
use crate::tools::{MAX_CALLS, MAX_POSTS, history};

/// How long a call that waits for a person is held before it is told to come again: below the long poll's limit.
const PATIENCE: Duration = Duration::from_secs(45);
/// The longest id of a call, in bytes; Codex's have up to 64.
const MAX_CALL_ID: usize = 256;

impl Actor {
    /// The agent calls a tool.
    pub(super) fn on_tool(&mut self, call: ToolCall, reply: oneshot::Sender<Result<ToolAnswer, Refused>>) {
        let life = match self.life_of(call.attempt) {
            Ok(life) => life,
            Err(stale) => {
                let _ = reply.send(Err(stale));
                return;
            }
        };
        // A call that waits for a person comes again and again: the turn lives as long as somebody may still answer.
        life.last_sign = Instant::now();
        let zone = life.config.config.zone();
        let silence = Duration::from_secs(life.config.config.timeouts.silence_secs);
        let Some(store) = self.store.clone() else {
            let _ = reply.send(Err(Refused::Stale));
            return;
        };
        let job = Job {
            inner: self.inner.clone(),
            folder: self.folder.clone(),
            store,
            look_again: self.look_again.clone(),
            patience: PATIENCE.min(silence.max(Duration::from_secs(1))),
            zone,
            call,
            session: self.session.clone(),
        };
        tokio::spawn(async move {
            let mut reply = reply;
            let answer = tokio::select! {
                answer = job.run() => answer,
                // The runner is gone, or its door: it asks again.
                () = reply.closed() => return,
            };
            let _ = reply.send(answer);
        });
    }
}

/// One call of a tool.
struct Job {
    inner: Arc<Inner>,
    folder: Folder,
    store: Arc<GroupDb>,
    look_again: Arc<Notify>,
    patience: Duration,
    /// People's.
    zone: TimeZone,
    call: ToolCall,
    session: SessionId,
}

impl Job {
    fn key(&self) -> CallKey {
        CallKey {
            session: self.session.clone(),
            attempt: self.call.attempt,
            turn: self.call.turn,
            call_id: self.call.call_id.clone(),
        }
    }

    async fn run(&self) -> Result<ToolAnswer, Refused> {
        if self.call.call_id.is_empty() || self.call.call_id.len() > MAX_CALL_ID {
            return Ok(failed("the call's id is empty or too long"));
        }
        match self.store.known_call(&self.key()).await.map_err(refused)? {
            Known::Done(answer) => Ok(answer),
            Known::Waiting => self.wait().await,
            Known::New(chat) => match args::parse(&self.call.tool, &self.call.arguments) {
                Ok(wish) => self.follow(wish, &chat).await,
                Err(Wrong(words)) => {
                    let summary = args::short(&self.call.arguments.to_string(), 60);
                    Ok(self.done(summary, Deed::Fail(words)).await?.answer)
                }
            },
        }
    }

    async fn follow(&self, wish: Wish, chat: &ChatRef) -> Result<ToolAnswer, Refused> {
        let summary = wish.summary();
        if let Some(lack) = lacks(&wish, (self.inner.parts.abilities)(&chat.channel)) {
            return Ok(self.done(summary, Deed::Fail(lack)).await?.answer);
        }
        let deed = match wish {
            Wish::Reply { text } => Deed::Post { text, action: None },
            Wish::Edit { reply, text } => Deed::Edit { reply, text },
            Wish::React { emoji, message } => Deed::React { message, emoji },
            Wish::SendFile { path, caption } => return self.send_file(summary, &path, caption).await,
            Wish::History { limit, before } => {
                let said = self.store.said(&self.session, before, limit).await.map_err(refused)?;
                Deed::Answer(history::text(&said, |at| local_time(at, &self.zone)))
            }
            Wish::Ask { question: text, options, timeout_secs } => {
                Deed::Ask(NewQuestion { text, options, timeout_secs })
            }
        };
        match self.done(summary, deed).await?.answer {
            ToolAnswer::Pending => self.wait().await,
            answer => Ok(answer),
        }
    }

    /// Does it, and hints that the chat has something due.
    async fn done(&self, summary: String, deed: Deed) -> Result<Called, Refused> {
        let call = NewCall {
            key: self.key(),
            tool: args::short(&self.call.tool, 60),
            summary,
            limits: CallLimits { calls: MAX_CALLS, posts: MAX_POSTS },
        };
        let called = self.store.call(call, deed).await.map_err(refused)?;
        if let Some((chat, reply)) = &called.posted {
            tracing::debug!(turn = %self.call.turn, tool = self.call.tool, %reply, "a tool's reply");
            self.deliver(chat.clone());
        }
        Ok(called)
    }

    fn deliver(&self, chat: ChatRef) {
        (self.inner.parts.deliver)(Due { folder: self.folder.clone(), chat });
    }

    /// Takes a copy first: what the chat gets is the file as it was when the agent sent it.
    async fn send_file(
        &self,
        summary: String,
        path: &Path,
        caption: Option<String>,
    ) -> Result<ToolAnswer, Refused> {
        let workspace = self.inner.parts.home.workspace(&self.folder);
        let (data, dir) =
            (self.inner.parts.home.group_data(&self.folder), self.inner.parts.home.sent(&self.session));
        let from = path.to_owned();
        let taken = tokio::task::spawn_blocking(move || files::sent::take(&workspace, &from, &data, &dir));
        let file = match taken.await {
            Ok(Ok(file)) => file,
            Ok(Err(error)) if error.is_ours() => return Err(Refused::Later(error_chain(&error))),
            Ok(Err(error)) => {
                let words = format!("{} was not sent: {}", path.display(), error_chain(&error));
                return Ok(self.done(summary, Deed::Fail(words)).await?.answer);
            }
            Err(_) => return Err(Refused::Later("the file's copy was not finished".to_owned())),
        };
        let summary = format!("{summary}, {} bytes", file.bytes);
        let sent = SentFile { name: file.name, path: file.path.clone(), bytes: file.bytes, caption };
        let deed = Deed::Post { text: sent.words(), action: Some(Action::File(sent)) };
        let called = self.done(summary, deed).await;
        if !called.as_ref().is_ok_and(|called| called.posted.is_some()) {
            // Refused, or done before: nobody knows of this copy.
            files::sent::forget(&self.inner.parts.home.group_data(&self.folder).join(&file.path));
        }
        Ok(called?.answer)
    }

    /// Waits for a person, or until the runner has to call again.
    async fn wait(&self) -> Result<ToolAnswer, Refused> {
        let until = Instant::now() + self.patience;
        loop {
            let woken = self.look_again.notified();
            tokio::pin!(woken);
            // Before the look, so that what comes meanwhile is not missed.
            woken.as_mut().enable();
            let expires_at = match self.store.waiting(&self.key()).await.map_err(refused)? {
                Waiting::Over(answer, told) => {
                    if let Some((chat, _)) = told {
                        self.deliver(chat);
                    }
                    return Ok(answer);
                }
                Waiting::Until(at) => at,
            };
            let left = Duration::from_millis(u64::try_from(expires_at - now_ms()).unwrap_or(0));
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(left) => {}
                () = tokio::time::sleep_until(until) => return Ok(ToolAnswer::Pending),
            }
        }
    }
}

fn failed(text: &str) -> ToolAnswer {
    ToolAnswer::Done { success: false, text: text.to_owned() }
}

/// What the chat's channel would have to be able to do.
fn lacks(wish: &Wish, abilities: Abilities) -> Option<String> {
    let (able, what) = match wish {
        Wish::SendFile { .. } => {
            (abilities.files, "take files: tell where in the workspace it is, or what is in it")
        }
        Wish::Edit { .. } => (abilities.edit, "change messages: send a new one"),
        Wish::React { .. } => (abilities.react, "show reactions: say it in words"),
        Wish::Reply { .. } | Wish::Ask { .. } | Wish::History { .. } => (true, ""),
    };
    (!able).then(|| format!("this chat cannot {what}"))
}

/// People's files where the container sees them.
pub(super) fn in_container(files: Vec<Attachment>) -> Vec<InboundFile> {
    let place = |file: Attachment| InboundFile {
        path: format!("{}/{}", mounts::CWD, file.path),
        bytes: file.bytes,
        image: file.image,
    };
    files.into_iter().map(place).collect()
}

/// What the agent should know of the turn before: a question that nobody answered in time. Its own words, shortened.
pub(super) fn left_open(question: Option<&str>) -> String {
    let Some(question) = question else { return String::new() };
    let question = args::short(question, 1500);
    format!(
        " Your last turn ended before a question of yours was answered; a message may answer it now: {question}"
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_a_chat_cannot_do_is_said_with_another_way() {
        let wish = Wish::SendFile { path: PathBuf::from("a"), caption: None };
        assert!(lacks(&wish, Abilities::default()).unwrap().contains("cannot take files"));
        assert_eq!(lacks(&wish, Abilities { files: true, ..Abilities::default() }), None);
        assert_eq!(lacks(&Wish::Reply { text: "a".into() }, Abilities::default()), None);
    }
}
