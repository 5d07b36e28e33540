//! The test platform's way in: wired, accepted and nudged as any channel's messages are.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cofferdam_protocol::ids::Folder;
use tokio_util::sync::CancellationToken;

use super::Mode;
use crate::channels::Channels;
use crate::channels::platform::{self, Platform};
use crate::channels::{Arrival, Channel, Content, Intake, NotTaken, Taken};
use crate::delivery::Delivery;
use crate::model::chat::{ChatRef, Due, Inbound, SessionMode};
use crate::router::{self, Routed};
use crate::store::Stores;
use crate::supervisor::Supervisor;
use crate::{error_chain, hooks};

/// Adds the test platform to a serving daemon's channels, if a test named one.
pub(super) fn add(channels: &Channels, mode: Mode) -> Option<Platform> {
    let socket = hooks::platform_socket().filter(|_| mode == Mode::Serve)?;
    let platform = Platform::new(&socket);
    channels.add(Arc::new(platform.clone()));
    Some(platform)
}

/// Connects it; after the recovery, as every intake.
pub(super) fn start(
    platform: &Platform,
    stores: &Stores,
    supervisor: &Supervisor,
    delivery: &Delivery,
) -> CancellationToken {
    let door = Door {
        stores: stores.clone(),
        supervisor: supervisor.clone(),
        delivery: delivery.clone(),
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
    supervisor: Supervisor,
    delivery: Delivery,
    /// Chats that are wired for certain.
    wired: Mutex<HashSet<String>>,
}

impl Door {
    /// Wires `FOLDER` or `FOLDER.N` to the group FOLDER. Another chat stays unwired, and its messages are dropped.
    async fn wire(&self, chat_id: &str) -> Result<(), String> {
        if self.wired.lock().unwrap_or_else(PoisonError::into_inner).contains(chat_id) {
            return Ok(());
        }
        let Some(folder) = folder_of(chat_id) else { return Ok(()) };
        let central = self.stores.central();
        let wired = central.wire(platform::NAME, chat_id, &folder, SessionMode::Shared).await;
        if wired.map_err(|error| error_chain(&error))? {
            self.wired.lock().unwrap_or_else(PoisonError::into_inner).insert(chat_id.to_owned());
        }
        Ok(())
    }
}

#[async_trait]
impl Intake for Door {
    async fn take(&self, arrival: Arrival) -> Result<Taken, NotTaken> {
        self.wire(&arrival.chat.chat_id).await.map_err(NotTaken::Failed)?;
        let Content::Message(written) = arrival.content else { return Ok(Taken::Dropped("empty")) };
        let message = Inbound {
            chat: arrival.chat,
            platform_id: arrival.platform_id,
            sender: arrival.sender.name,
            text: written.text,
            output_schema: None,
            files: Vec::new(),
        };
        match router::receive(&self.stores, message).await.map_err(|error| NotTaken::Failed(error_chain(&error)))? {
            Routed::Accepted(store, accepted) => self.supervisor.accepted(store.folder(), &accepted),
            Routed::Dropped(reason) => return Ok(Taken::Dropped(reason.as_str())),
            // Not acknowledged: the platform offers it again.
            Routed::Full(waiting) => return Err(NotTaken::Full(waiting)),
        }
        Ok(Taken::Accepted)
    }

    async fn cursor(&self) -> Result<Option<String>, NotTaken> {
        Ok(None)
    }

    async fn keep_cursor(&self, _: String) -> Result<(), NotTaken> {
        Ok(())
    }

    async fn present(&self, chat: ChatRef) {
        if let Some(folder) = folder_of(&chat.chat_id) {
            self.delivery.nudge(Due { folder, chat });
        }
    }
}

fn folder_of(chat_id: &str) -> Option<Folder> {
    chat_id.split('.').next()?.parse().ok()
}
