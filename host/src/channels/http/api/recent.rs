//! Calls without an id of their caller's. OpenAI's clients repeat a call that broke or took too long, say so in
//! `x-stainless-retry-count`, and (by default) give it no `Idempotency-Key`: the same call again, said to be a repetition,
//! is taken for the one before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use uuid::Uuid;

use super::conversation::{Thread, message_id};

/// What the clients count their repetitions in.
const RETRIES: &str = "x-stainless-retry-count";
/// How long a call is remembered: the clients' usual patience is ten minutes.
const FOR: Duration = Duration::from_secs(30 * 60);
/// Calls that are remembered at most; the oldest are forgotten first.
const MOST: usize = 4096;

/// Recent calls, by what was sent.
#[derive(Default)]
pub(in super::super) struct Recent(Mutex<HashMap<[u8; 32], Arc<Known>>>);

/// A call that is remembered, from before its thread is chosen: a repetition that comes meanwhile waits for it.
pub(super) struct Known {
    pub(super) message: Uuid,
    pub(super) thread: OnceCell<Thread>,
    at: Instant,
}

/// A call's fingerprint: whose it is, where it goes, and what was sent.
pub(super) fn of(chat: &str, path: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(format!("{chat}\0{path}\0")).chain_update(body).finalize().into()
}

impl Recent {
    /// The call that this one repeats, if it says that it repeats one; or this one, remembered from now on.
    pub(super) fn call(&self, headers: &HeaderMap, call: [u8; 32]) -> Arc<Known> {
        let retries = headers.get(RETRIES).and_then(|count| count.to_str().ok()?.parse::<u32>().ok());
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, known| known.at.elapsed() < FOR);
        if let Some(known) = recent.get(&call).filter(|_| retries.is_some_and(|retries| retries > 0)) {
            return known.clone();
        }
        if recent.len() >= MOST
            && let Some(oldest) = recent.iter().min_by_key(|(_, known)| known.at).map(|(call, _)| *call)
        {
            recent.remove(&oldest);
        }
        let known = Known { message: message_id(None), thread: OnceCell::new(), at: Instant::now() };
        let known = Arc::new(known);
        recent.insert(call, known.clone());
        known
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn counted(count: &str) -> HeaderMap {
        [(RETRIES.parse().unwrap(), count.parse().unwrap())].into_iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_said_to_be_a_repetition_is_one_and_not_for_ever() {
        let recent = Recent::default();
        let call = of("k", "/v1/responses", b"{}");
        let first = recent.call(&HeaderMap::new(), call).message;
        assert_eq!(recent.call(&counted("1"), call).message, first);
        for headers in [HeaderMap::new(), counted("0")] {
            let fresh = recent.call(&headers, call).message;
            assert_ne!(fresh, first);
            assert_eq!(recent.call(&counted("2"), call).message, fresh);
        }
        let known = recent.call(&counted("1"), call).message;
        for other in [
            of("j", "/v1/responses", b"{}"),
            of("k", "/v1/chat/completions", b"{}"),
            of("k", "/v1/responses", b"{ }"),
        ] {
            assert_ne!(recent.call(&counted("1"), other).message, known);
        }
        for number in 0..MOST {
            recent.call(&counted("0"), of("k", "", &number.to_be_bytes()));
        }
        assert_eq!(recent.0.lock().unwrap().len(), MOST);
        let call = of("k", "", &5_usize.to_be_bytes());
        let known = recent.call(&counted("1"), call).message;
        tokio::time::advance(FOR).await;
        assert_ne!(recent.call(&counted("2"), call).message, known);
    }

    #[tokio::test]
    async fn a_repetition_that_comes_while_the_thread_is_chosen_gets_the_same() {
        let recent = Recent::default();
        let call = of("k", "/v1/responses", b"{}");
        let (first, second) = (recent.call(&counted("0"), call), recent.call(&counted("1"), call));
        assert_eq!(first.message, second.message);
        let chosen = async |id: &str| {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Thread { id: id.into(), begins: true })
        };
        let (one, other) = tokio::join!(
            first.thread.get_or_try_init(|| chosen("first")),
            second.thread.get_or_try_init(|| chosen("second")),
        );
        assert_eq!((one.unwrap().id.as_str(), other.unwrap().id.as_str()), ("first", "first"));
    }
}
