//! Calls without an id of their caller's. OpenAI's clients repeat a call that broke or took too long, say so in
//! `x-stainless-retry-count`, and (by default) give it no `Idempotency-Key`: the same call again, said to be a repetition,
//! is taken for the one before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::conversation::Thread;

/// What the clients count their repetitions in.
const RETRIES: &str = "x-stainless-retry-count";
/// How long a call is remembered: the clients' usual patience is ten minutes.
const FOR: Duration = Duration::from_secs(30 * 60);
/// Calls that are remembered at most; the oldest are forgotten first.
const MOST: usize = 4096;

/// Recent calls, by what was sent.
#[derive(Default)]
pub(in super::super) struct Recent(Mutex<HashMap<[u8; 32], Known>>);

struct Known {
    thread: Thread,
    message: Uuid,
    at: Instant,
}

/// A call's fingerprint: whose it is, where it goes, and what was sent.
pub(super) fn of(chat: &str, path: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(format!("{chat}\0{path}\0")).chain_update(body).finalize().into()
}

impl Recent {
    /// The thread and the message of the call that this one repeats.
    pub(super) fn repeated(&self, headers: &HeaderMap, call: &[u8; 32]) -> Option<(Thread, Uuid)> {
        let retries = headers.get(RETRIES)?.to_str().ok()?.parse::<u32>().ok()?;
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.get(call).filter(|known| retries > 0 && known.at.elapsed() < FOR)?;
        Some((known.thread.clone(), known.message))
    }

    /// Remembers a call.
    pub(super) fn note(&self, call: [u8; 32], thread: Thread, message: Uuid) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, known| known.at.elapsed() < FOR);
        if recent.len() >= MOST
            && let Some(oldest) = recent.iter().min_by_key(|(_, known)| known.at).map(|(call, _)| *call)
        {
            recent.remove(&oldest);
        }
        recent.insert(call, Known { thread, message, at: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_said_to_be_a_repetition_is_one_and_not_for_ever() {
        let recent = Recent::default();
        let counted = |count: &str| [(RETRIES.parse().unwrap(), count.parse().unwrap())].into_iter().collect();
        let (call, message) = (of("k", "/v1/responses", b"{}"), Uuid::now_v7());
        recent.note(call, Thread { id: "t".into(), begins: true }, message);
        assert!(recent.repeated(&HeaderMap::new(), &call).is_none());
        assert!(recent.repeated(&counted("0"), &call).is_none());
        assert_eq!(recent.repeated(&counted("1"), &call).map(|(_, id)| id), Some(message));
        for other in [
            of("j", "/v1/responses", b"{}"),
            of("k", "/v1/chat/completions", b"{}"),
            of("k", "/v1/responses", b"{ }"),
        ] {
            assert!(recent.repeated(&counted("1"), &other).is_none());
        }
        for number in 0..MOST {
            recent.note(of("k", "", &number.to_be_bytes()), Thread { id: "t".into(), begins: true }, message);
        }
        assert_eq!(recent.0.lock().unwrap().len(), MOST);
        tokio::time::advance(FOR).await;
        assert!(recent.repeated(&counted("2"), &of("k", "", &5_usize.to_be_bytes())).is_none());
    }
}
