//! How many calls there may be at once, how much of them is in memory, and in which order they are handed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::settings::Limits;

/// What is shared out over calls.
pub(super) struct Places {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    of_one: usize,
    by_chat: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// In KiB.
    memory: Arc<Semaphore>,
    order: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A call's place; it is free again when it is dropped.
pub(super) struct Place {
    _all: OwnedSemaphorePermit,
    _of_one: OwnedSemaphorePermit,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is larger than it may be.
    TooLarge,
    /// It took too long.
    TooSlow,
    /// There is no memory for it now.
    NoRoom,
    /// The connection broke.
    Broken,
}

/// A body, and its share of the memory.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    _room: Vec<OwnedSemaphorePermit>,
}

const KIB: usize = 1024;

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.calls)),
            strangers: Arc::new(Semaphore::new(limits.strangers)),
            of_one: limits.calls_of_one,
            by_chat: Mutex::default(),
            memory: Arc::new(Semaphore::new(limits.memory / KIB)),
            order: Mutex::default(),
        }
    }

    /// A place for a call of this chat, if there is one.
    pub(super) fn take(&self, chat: &str) -> Option<Place> {
        let of_one = {
            let mut by_chat = self.by_chat.lock().unwrap_or_else(PoisonError::into_inner);
            by_chat.retain(|_, places| places.available_permits() < self.of_one);
            let places = by_chat.entry(chat.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.of_one)));
            places.clone().try_acquire_owned().ok()?
        };
        Some(Place { _all: self.all.clone().try_acquire_owned().ok()?, _of_one: of_one })
    }

    /// A place for a call of which it is not known yet who makes it.
    pub(super) fn stranger(&self) -> Option<OwnedSemaphorePermit> {
        self.strangers.clone().try_acquire_owned().ok()
    }

    /// Waits until no other arrival of this chat is handed in.
    pub(super) async fn turn(&self, chat: &str) -> OwnedMutexGuard<()> {
        let one = {
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            order.retain(|_, one| Arc::strong_count(one) > 1);
            order.entry(chat.to_owned()).or_default().clone()
        };
        one.lock_owned().await
    }

    /// Reads a body of at most so many bytes, within that time.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        (most, within): (usize, Duration),
    ) -> Result<Bytes, Unread> {
        let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|said| usize::try_from(said).map_or(true, |said| said > most)) {
            return Err(Unread::TooLarge);
        }
        timeout(within, self.gather(body, most)).await.unwrap_or(Err(Unread::TooSlow))
    }

    async fn gather(&self, mut body: Body, most: usize) -> Result<Bytes, Unread> {
        let mut read = Bytes { bytes: Vec::new(), _room: Vec::new() };
        let mut room = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            let total = read.bytes.len() + data.len();
            if total > most {
                return Err(Unread::TooLarge);
            }
            if total > room {
                // In steps, so that a body of many small frames has few permits.
                let more = (total - room).div_ceil(64 * KIB) * 64;
                let permits = u32::try_from(more).map_err(|_| Unread::TooLarge)?;
                read._room.push(self.memory.clone().try_acquire_many_owned(permits).map_err(|_| Unread::NoRoom)?);
                room += more * KIB;
            }
            read.bytes.extend_from_slice(&data);
        }
        Ok(read)
    }
}
