//! The terminal's messages: accepted durably, then followed until their turn's replies were handed over ([`follower`]).

mod follower;
mod own;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cofferdam_protocol::admin::{ChatRequest, ErrorKind};
use cofferdam_protocol::ids::Folder;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::Admin;
use super::answers::no_group;
use super::error::Failed;
use super::intake::Admitted;
use super::{files, schema};
use crate::channels::terminal;
use crate::model::chat::{ChatRef, Due, Inbound};
use crate::model::command::Command;
use crate::router::{self, DropReason, MAX_MESSAGE_BYTES, Routed};
use crate::store::GroupDb;
use crate::store::group::inbox::Accepted;

use follower::{Followed, Follower, Sources, Told};

/// Events that a slow client may be behind before the daemon waits for it.
const BACKLOG: usize = 256;

pub(super) async fn chat(
    State(admin): State<Arc<Admin>>,
    Admitted { request, accepting, following }: Admitted,
) -> Result<Response, Failed> {
    let (group, staged) = (request.group.clone(), request.files.clone());
    let own = own::asked(&admin, &request).await?;
    let inbound = match own {
        // What comes with a command of ours is for nobody.
        Some(_) => plain(request, None),
        None => inbound(&admin, request).await?,
    };
    let (chat, platform_id) = (inbound.chat.clone(), inbound.platform_id.clone());
    // Attached before the message exists, so that no reply can pass by.
    let replies = admin.terminal.attach(chat.clone());
    let progress = admin.terminal.watch_progress(&chat);
    let accepted_at = Instant::now();
    let stop = own.is_some() || Command::parse(&inbound.text) == Some(Command::Stop);
    let woken = own.is_none();
    let (store, accepted) = match own {
        Some(own) => own.done(&admin, inbound).await?,
        None => accept(&admin, inbound, &group).await?,
    };
    drop(accepting);
    let folder = store.folder().clone();
    files::forget(&admin, &folder, staged);
    let live = admin.hub.watch(&accepted.session);
    let (events, body) = mpsc::channel(BACKLOG);
    let due = Due { folder: folder.clone(), chat };
    let followed = Followed {
        admin: admin.clone(),
        due: due.clone(),
        store,
        message: accepted.message,
        platform_id,
        session: accepted.session.clone(),
        stop,
        accepted_at,
        _place: following,
    };
    let follower = Follower::new(followed, Sources { live, replies, progress }, events);
    tokio::spawn(follower.follow(accepted.duplicate));
    admin.delivery.nudge(due);
    if woken {
        admin.supervisor.accepted(&folder, &accepted);
    }
    Ok(streamed(body))
}

/// The chat that a message is written in.
fn chat_of(request: &ChatRequest) -> ChatRef {
    ChatRef {
        channel: terminal::NAME.to_owned(),
        chat_id: request.group.to_string(),
        thread_id: request.thread.clone(),
    }
}

/// The message as any channel hands it in, without its files.
fn plain(request: ChatRequest, output_schema: Option<String>) -> Inbound {
    Inbound {
        chat: chat_of(&request),
        platform_id: request.message_id,
        sender: request.sender,
        sender_id: None,
        text: request.text,
        quote: None,
        output_schema,
        files: Vec::new(),
    }
}

/// The message with its files in the workspace.
async fn inbound(admin: &Admin, mut request: ChatRequest) -> Result<Inbound, Failed> {
    let schema = schema::checked(request.schema.take())?;
    let (group, with) = (request.group.clone(), std::mem::take(&mut request.files));
    let mut inbound = plain(request, schema);
    // A message that is refused leaves no file in the workspace.
    if !with.is_empty() {
        if let Some(reason) = router::before_files(&admin.stores, &inbound).await? {
            return Err(dropped(reason, &group));
        }
        inbound.files = files::place(admin, &group, &inbound, &with).await?;
    }
    Ok(inbound)
}

async fn accept(admin: &Admin, inbound: Inbound, group: &Folder) -> Result<(Arc<GroupDb>, Accepted), Failed> {
    match router::receive(&admin.stores, inbound).await? {
        Routed::Accepted(store, accepted) => Ok((store, accepted)),
        Routed::Dropped(reason) => Err(dropped(reason, group)),
        Routed::Full(waiting) => Err(full(waiting)),
    }
}

/// Why a message was not accepted, and what to do.
fn dropped(reason: DropReason, group: &Folder) -> Failed {
    match reason {
        DropReason::Unwired => no_group(group),
        DropReason::Empty => Failed::new(ErrorKind::Usage, "the message is empty", "write something"),
        DropReason::NotEngaged => Failed::new(
            ErrorKind::Usage,
            format!("the terminal's messages do not wake {group}: its wiring says so"),
            format!("`cofferdam wiring set terminal:{group} --engage always`"),
        ),
        DropReason::TooLarge => Failed::new(
            ErrorKind::Usage,
            format!("the message is over {MAX_MESSAGE_BYTES} bytes"),
            "put it into a file in the group's workspace and write where it is",
        ),
        // What holds for strangers: whoever has the admin socket is none.
        reason => Failed::new(
            ErrorKind::Internal,
            format!("the message was dropped: {}", reason.as_str()),
            "see the daemon's log",
        ),
    }
}

/// Too many messages wait: the sender is to slow down.
fn full(waiting: u64) -> Failed {
    let message = format!("{waiting} messages of this conversation wait already");
    let hint = "nothing was accepted; send it again when some of them are answered, or end them with /stop";
    Failed::new(ErrorKind::Daemon, message, hint)
}

fn streamed(mut body: mpsc::Receiver<Told>) -> Response {
    let told = futures_util::stream::poll_fn(move |context| body.poll_recv(context));
    let lines = told.filter_map(|told| std::future::ready(given(told).map(Ok::<_, Infallible>)));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// A line that its client is given now, after all that were told before.
fn given(told: Told) -> Option<Bytes> {
    if let Some(taken) = told.taken {
        taken.yes();
    }
    told.line
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::channels::terminal::HandOver;

    #[tokio::test]
    async fn a_reply_that_was_handed_over_twice_is_taken_when_its_one_line_is_given() {
        let (events, body) = mpsc::channel(4);
        let (first, _) = HandOver::taken();
        let (again, mut taken) = HandOver::taken();
        events.send(Told { line: Some("reply\n".into()), taken: Some(first) }).await.ok().unwrap();
        events.send(Told { line: None, taken: Some(again) }).await.ok().unwrap();
        events.send(Told { line: Some("end\n".into()), taken: None }).await.ok().unwrap();
        drop(events);
        let mut body = streamed(body).into_body();
        assert!(taken.try_recv().is_err(), "its line still waits");
        let mut lines = Vec::new();
        while let Some(frame) = body.frame().await {
            lines.push((frame.unwrap().into_data().unwrap(), taken.try_recv().is_ok()));
        }
        assert_eq!(lines, [("reply\n".into(), false), ("end\n".into(), true)]);
    }
}
