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
    of_one: usize,
    by_chat: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Of calls that repeat one and wait.
    repeats: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Of calls of webhooks that there are, whose signatures are not checked yet. In KiB, as all memory here.
    unsigned: Shared,
    /// The same by names, whether there are such webhooks or not. Each name has as much, so that who asks for one learns
    /// nothing by filling its places, and who knows one holds up no other.
    by_name: Mutex<HashMap<String, Shared>>,
    limits: Limits,
    /// In KiB; that of bodies whose signature is not checked yet is their own.
    memory: Arc<Semaphore>,
    /// When what each webhook and key sent is paid off.
    paces: Mutex<HashMap<String, Instant>>,
    order: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Places, and memory for their bodies.
#[derive(Clone)]
struct Shared {
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Shared {
    fn new(places: usize, bytes: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), memory: Arc::new(Semaphore::new(bytes / KIB)) }
    }
}

/// The place of a call of which it is not known yet who makes it.
pub(super) struct Unsigned {
    /// Where its body's memory comes from.
    memory: Vec<Arc<Semaphore>>,
    /// Its webhook is there. Nobody reads the others' bodies, so they are counted and not kept.
    known: bool,
    _places: Vec<OwnedSemaphorePermit>,
}

/// How often a chat may be written to: so many calls at once, and then one each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    burst: u32,
    every: Duration,
}

/// Of a webhook: more than a repository that people work on makes.
pub(super) const HOOKS: Pace = Pace { burst: 100, every: Duration::from_secs(2) };
/// Of a key, whose program may serve many people: more than a home's agents answer.
pub(super) const KEYS: Pace = Pace { burst: 600, every: Duration::from_millis(500) };
/// Calls of one webhook that repeat one and wait, at once: an honest program repeats few, and a copy costs nothing to make.
const REPEATS: usize = 8;

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
    /// How many were sent; more than there are when nobody was to read them.
    pub(super) sent: usize,
    _room: Vec<OwnedSemaphorePermit>,
}

const KIB: usize = 1024;

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.calls)),
            of_one: limits.calls_of_one,
            by_chat: Mutex::default(),
            repeats: Mutex::default(),
            unsigned: Shared::new(limits.unsigned, limits.unsigned_memory),
            by_name: Mutex::default(),
            limits: *limits,
            memory: Arc::new(Semaphore::new(limits.memory / KIB)),
            paces: Mutex::default(),
            order: Mutex::default(),
        }
    }

    /// A place for a call of this chat, if there is one.
    pub(super) fn take(&self, chat: &str) -> Option<Place> {
        let of_one = one_of(&self.by_chat, chat, self.of_one)?;
        Some(Place { _all: self.all.clone().try_acquire_owned().ok()?, _of_one: of_one })
    }

    /// A place for a call of this chat that repeats one and waits for its answer.
    pub(super) fn repeat(&self, chat: &str) -> Option<OwnedSemaphorePermit> {
        one_of(&self.repeats, chat, REPEATS)
    }

    /// A place for a call of this name of which it is not known yet who makes it.
    pub(super) fn unsigned(&self, name: &str, known: bool) -> Option<Unsigned> {
        let (of_one, most) = (self.limits.unsigned_of_one, self.limits.unsigned_memory_of_one);
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.retain(|_, shared| shared.places.available_permits() < of_one);
        let mine = by_name.entry(name.to_owned()).or_insert_with(|| Shared::new(of_one, most)).clone();
        let from = if known { vec![mine, self.unsigned.clone()] } else { vec![mine] };
        let places = from.iter().map(|shared| shared.places.clone().try_acquire_owned());
        let places = places.collect::<Result<_, _>>().ok()?;
        Some(Unsigned { memory: from.into_iter().map(|shared| shared.memory).collect(), known, _places: places })
    }

    /// Whether a chat is written to no more often than its pace says; counts the call then. Nobody has to wait for the
    /// answers of calls, so that their number at once bounds nothing.
    pub(super) fn in_pace(&self, chat: &str, pace: Pace) -> bool {
        let now = Instant::now();
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, paid_at| *paid_at > now);
        let paid_at = paces.entry(chat.to_owned()).or_insert(now);
        let is = *paid_at - now < pace.every * pace.burst;
        if is {
            *paid_at += pace.every;
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
        read_into((std::slice::from_ref(&self.memory), true), headers, body, bounds).await
    }
}

impl Unsigned {
    /// The same of a call whose signature is not checked yet.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        bounds: (usize, Duration),
    ) -> Result<Bytes, Unread> {
        read_into((&self.memory, self.known), headers, body, bounds).await
    }
}

fn one_of(by: &Mutex<HashMap<String, Arc<Semaphore>>>, chat: &str, most: usize) -> Option<OwnedSemaphorePermit> {
    let mut by = by.lock().unwrap_or_else(PoisonError::into_inner);
    by.retain(|_, places| places.available_permits() < most);
    let places = by.entry(chat.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(most)));
    places.clone().try_acquire_owned().ok()
}

/// Where a body's memory comes from, and whether the body is kept.
type Room<'a> = (&'a [Arc<Semaphore>], bool);

async fn read_into(
    into: Room<'_>,
    headers: &HeaderMap,
    body: Body,
    (most, within): (usize, Duration),
) -> Result<Bytes, Unread> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| usize::try_from(said).map_or(true, |said| said > most)) {
        return Err(Unread::TooLarge);
    }
    timeout(within, gather(into, body, most)).await.unwrap_or(Err(Unread::TooSlow))
}

async fn gather((memory, keeps): Room<'_>, mut body: Body, most: usize) -> Result<Bytes, Unread> {
    let mut read = Bytes { bytes: Vec::new(), sent: 0, _room: Vec::new() };
    let mut room = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        read.sent += data.len();
        if read.sent > most {
            return Err(Unread::TooLarge);
        }
        if read.sent > room {
            // In steps, so that a body of many small frames has few permits.
            let more = (read.sent - room).div_ceil(64 * KIB) * 64;
            let permits = u32::try_from(more).map_err(|_| Unread::TooLarge)?;
            for memory in memory {
                read._room.push(memory.clone().try_acquire_many_owned(permits).map_err(|_| Unread::NoRoom)?);
            }
            room += more * KIB;
        }
        if keeps {
            read.bytes.extend_from_slice(&data);
        }
    }
    Ok(read)
}
