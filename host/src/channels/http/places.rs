//! How many calls there may be at once, how much of them is in memory, and in which order they are handed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::settings::Limits;

/// What is shared out over calls.
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// Calls of webhooks that there are, whose signatures are not checked yet, and calls of others: who calls names at random
    /// holds up no webhook.
    unsigned: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    of_one: usize,
    by_chat: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// In KiB; that of bodies whose signature is not checked yet is their own.
    memory: Arc<Semaphore>,
    unsigned_memory: Arc<Semaphore>,
    /// When what each webhook sent is paid off.
    paces: Mutex<HashMap<String, Instant>>,
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
/// Calls of a webhook at once, and then one for each [`EVERY`]: more than a repository that people work on makes.
const BURST: u32 = 100;
const EVERY: Duration = Duration::from_secs(2);

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.calls)),
            unsigned: Arc::new(Semaphore::new(limits.unsigned)),
            strangers: Arc::new(Semaphore::new(limits.strangers)),
            of_one: limits.calls_of_one,
            by_chat: Mutex::default(),
            memory: Arc::new(Semaphore::new(limits.memory / KIB)),
            unsigned_memory: Arc::new(Semaphore::new(limits.unsigned_memory / KIB)),
            paces: Mutex::default(),
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
    pub(super) fn stranger(&self, known: bool) -> Option<OwnedSemaphorePermit> {
        let places = if known { &self.unsigned } else { &self.strangers };
        places.clone().try_acquire_owned().ok()
    }

    /// Whether a webhook calls no more often than [`BURST`] and [`EVERY`] say; counts the call then. Nobody waits for the
    /// answers of its calls, so that their number at once bounds nothing.
    pub(super) fn in_pace(&self, chat: &str) -> bool {
        let now = Instant::now();
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, paid_at| *paid_at > now);
        let paid_at = paces.entry(chat.to_owned()).or_insert(now);
        let is = *paid_at - now < EVERY * BURST;
        if is {
            *paid_at += EVERY;
        }
        is
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
        bounds: (usize, Duration),
    ) -> Result<Bytes, Unread> {
        read_into(&self.memory, headers, body, bounds).await
    }

    /// The same of a call whose signature is not checked yet.
    pub(super) async fn read_unsigned(
        &self,
        headers: &HeaderMap,
        body: Body,
        bounds: (usize, Duration),
    ) -> Result<Bytes, Unread> {
        read_into(&self.unsigned_memory, headers, body, bounds).await
    }
}

async fn read_into(
    memory: &Arc<Semaphore>,
    headers: &HeaderMap,
    body: Body,
    (most, within): (usize, Duration),
) -> Result<Bytes, Unread> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| usize::try_from(said).map_or(true, |said| said > most)) {
        return Err(Unread::TooLarge);
    }
    timeout(within, gather(memory, body, most)).await.unwrap_or(Err(Unread::TooSlow))
}

async fn gather(memory: &Arc<Semaphore>, mut body: Body, most: usize) -> Result<Bytes, Unread> {
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
            read._room.push(memory.clone().try_acquire_many_owned(permits).map_err(|_| Unread::NoRoom)?);
            room += more * KIB;
        }
        read.bytes.extend_from_slice(&data);
    }
    Ok(read)
}
