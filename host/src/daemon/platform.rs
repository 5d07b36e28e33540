//! The test platform's way in: wired when it is first heard of, and else as any channel's messages are.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cofferdam_protocol::ids::Folder;
use tokio_util::sync::CancellationToken;

use super::Mode;
use crate::channels::platform::{self, Platform};
use crate::channels::{Arrival, Channel, Channels, Intake, NotTaken, Taken, Writers};
use crate::desk::Desk;
use crate::model::chat::{ChatKind, ChatRef};
use crate::model::people::UnknownPolicy;
use crate::store::Stores;
use crate::store::wirings::{ChatRow, Terms, Wiring};
use crate::{error_chain, hooks};

/// Adds the test platform to a serving daemon's channels, if a test named one.
pub(super) fn add(channels: &Channels, mode: Mode) -> Option<Platform> {
    let socket = hooks::platform_socket().filter(|_| mode == Mode::Serve)?;
    let platform = Platform::new(&socket);
    channels.add(Arc::new(platform.clone()));
    Some(platform)
}

/// Connects it; after the recovery, as every intake.
pub(super) fn start(platform: &Platform, stores: &Stores, desk: &Desk) -> CancellationToken {
    let door = Door {
        stores: stores.clone(),
        desk: desk.intake(platform::NAME, Writers::People),
        wired: Mutex::default(),
    };
    let (platform, stop) = (platform.clone(), CancellationToken::new());
    let stopped = stop.clone();
    tokio::spawn(async move { platform.run(Arc::new(door), stopped).await });
    stop
}

/// Takes in the test platform's messages.
struct Door {
    stores: Stores,
    desk: Arc<dyn Intake>,
    /// Chats that are wired for certain.
    wired: Mutex<HashSet<String>>,
}

impl Door {
    /// Wires `FOLDER` or `FOLDER.N` to the group FOLDER, for everybody. Another chat stays unwired, and its messages are dropped.
    async fn wire(&self, chat_id: &str) -> Result<(), String> {
        if self.wired.lock().unwrap_or_else(PoisonError::into_inner).contains(chat_id) {
            return Ok(());
        }
        let Some(folder) = folder_of(chat_id) else { return Ok(()) };
        let central = self.stores.central();
        let chat = ChatRow { kind: ChatKind::Group, title: None, unknown: Some(UnknownPolicy::Public) };
        central.put_chat(platform::NAME, chat_id, chat).await.map_err(|error| error_chain(&error))?;
        let wiring = Wiring {
            channel: platform::NAME.to_owned(),
            chat_id: chat_id.to_owned(),
            folder,
            terms: Terms::of(ChatKind::Direct),
        };
        if central.wire_once(wiring).await.map_err(|error| error_chain(&error))? {
            self.wired.lock().unwrap_or_else(PoisonError::into_inner).insert(chat_id.to_owned());
        }
        Ok(())
    }
}

#[async_trait]
impl Intake for Door {
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        self.wire(&arrival.chat.chat_id).await.map_err(NotTaken::Failed)?;
        self.desk.take(arrival).await
    }

    async fn overflow(&self, arrival: Arrival, first: bool) -> Result<(), NotTaken> {
        self.desk.overflow(arrival, first).await
    }

    async fn present(&self, chat: ChatRef) {
        self.desk.present(chat).await;
    }

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        self.desk.cursor().await
    }

    async fn keep_cursor(&self, cursor: String) -> Result<(), NotTaken> {
        self.desk.keep_cursor(cursor).await
    }
}

fn folder_of(chat_id: &str) -> Option<Folder> {
    chat_id.split('.').next()?.parse().ok()
}
