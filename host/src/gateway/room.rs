//! How much of the host's memory the bodies of model calls may take at once. Who finds no room waits, in order.

use http::{HeaderMap, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::MAX_REQUEST_BYTES;

const KIB: usize = 1024;

/// Room for bodies.
#[derive(Debug)]
pub struct Room {
    /// In KiB.
    free: Semaphore,
    size: u32,
}

impl Room {
    /// Room for so many bytes, of at most 1 TiB.
    pub fn new(bytes: usize) -> Self {
        let size = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(1 << 30).min(1 << 30);
        Self { free: Semaphore::new(size as usize), size }
    }

    /// Waits for the room that a call with these headers may take, until the permit is dropped. A body of unknown length
    /// takes as much as the largest. None never comes: the room is never closed.
    pub async fn take(&self, headers: &HeaderMap) -> Option<SemaphorePermit<'_>> {
        self.free.acquire_many(kib(headers).min(self.size)).await.ok()
    }
}

fn kib(headers: &HeaderMap) -> u32 {
    let most = MAX_REQUEST_BYTES.div_ceil(KIB);
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let wanted = match length {
        // Longer ones are refused without being read to their end.
        Some(bytes) if !chunked => bytes.div_ceil(KIB).clamp(1, most),
        None if !chunked => 1,
        _ => most,
    };
    u32::try_from(wanted).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn headers(text: &'static str) -> HeaderMap {
        let (name, value) = text.split_once(": ").unwrap();
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn a_call_takes_what_its_body_can_take() {
        assert_eq!(kib(&HeaderMap::new()), 1, "no body at all");
        assert_eq!(kib(&headers("content-length: 1025")), 2);
        assert_eq!(kib(&headers("content-length: 99999999999")), 64 * 1024);
        assert_eq!(kib(&headers("transfer-encoding: chunked")), 64 * 1024);
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_until_there_is() {
        let room = Room::new(4 * KIB);
        let first = room.take(&headers("content-length: 3000")).await;
        assert!(room.take(&headers("content-length: 1024")).now_or_never().is_some());
        let largest = headers("transfer-encoding: chunked");
        let mut second = Box::pin(room.take(&largest));
        assert!(second.as_mut().now_or_never().is_none(), "the largest takes all of a small room, not more");
        drop(first);
        assert!(second.await.is_some());
    }
}
