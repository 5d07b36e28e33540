//! Which thread a call belongs to.
//!
//! Besides threads by the fingerprints of their conversations, the book keeps for each thread the fingerprint of its end.
//! A caller that goes back and asks something else (the "try again" of chat windows) has a history that is known and is not
//! the end: its conversation goes on in a fresh thread, where the agent never hears of what was taken back.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::book::Book;
use super::super::keys::hex;
use super::super::plain::is_name;
use super::asked::{Asked, Prints};
use super::error::ApiError;
use super::recent::{self, Recent};

/// The longest `Idempotency-Key`, in bytes.
const MOST_ID: usize = 255;

/// Where a call belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) id: String,
    /// Nothing was said in it yet.
    pub(super) begins: bool,
}

/// The book, for one key.
#[derive(Clone)]
pub(super) struct Shelf {
    pub(super) book: std::sync::Arc<dyn Book>,
    /// Its chat.
    pub(super) chat: String,
}

impl Shelf {
    async fn read(&self, of: [u8; 32]) -> Result<Option<String>, ApiError> {
        self.book.thread_of(&self.chat, of).await.map_err(|why| ApiError::book(&why))
    }

    async fn keep(&self, of: [u8; 32], what: &str) -> Result<(), ApiError> {
        self.book.keep_thread(&self.chat, of, what).await.map_err(|why| ApiError::book(&why))
    }

    async fn keep_first(&self, of: [u8; 32], what: &str) -> Result<String, ApiError> {
        self.book.keep_first(&self.chat, of, what).await.map_err(|why| ApiError::book(&why))
    }

    /// The thread and the message of a call: those of the one that it repeats, if it does.
    pub(super) async fn whose(
        &self,
        asked: &Asked,
        recent: &Recent,
        (headers, path, body): (&HeaderMap, &str, &[u8]),
    ) -> Result<(Thread, Uuid), ApiError> {
        if let Some(id) = call_id(headers)? {
            return Ok((self.thread(asked, id).await?, message_id(Some(id))));
        }
        let known = recent.call(headers, recent::of(&self.chat, path, body));
        let thread = known.thread.get_or_try_init(|| self.choose(asked)).await?;
        Ok((thread.clone(), known.message))
    }

    /// The thread of a call with this id of its caller's. One that asks for something else under the id of one before is
    /// refused: what was answered then is no answer to it.
    async fn thread(&self, asked: &Asked, call: &str) -> Result<Thread, ApiError> {
        let stamp = hex(&asked.stamp());
        let kept = match self.read(of_call(call)).await? {
            Some(kept) => kept,
            // Before it is handed in: a call that is repeated finds its thread, also at the same time.
            None => self.keep_first(of_call(call), &format!("{} {stamp}", self.choose(asked).await?.id)).await?,
        };
        // What older versions kept has no stamp.
        let (id, asked) = kept.split_once(' ').unwrap_or((&kept, &stamp));
        if asked == stamp { self.of(id.to_owned()).await } else { Err(ApiError::other_call()) }
    }

    async fn choose(&self, asked: &Asked) -> Result<Thread, ApiError> {
        if let Some(previous) = &asked.previous {
            let thread = match parts(previous) {
                Some((id, _)) => Some(self.of(id.to_owned()).await?).filter(|thread| !thread.begins),
                None => None,
            };
            let unknown = || {
                let message = format!("Previous response with id '{previous}' not found.");
                let bad = ApiError::bad("previous_response_id", message);
                ApiError { code: Some("previous_response_not_found"), ..bad }
            };
            return thread.ok_or_else(unknown);
        }
        if let Some(named) = &asked.thread {
            return self.of(named.clone()).await;
        }
        if asked.has_history() {
            let before = asked.prints().before;
            if let Some(id) = self.read(before).await?
                && self.read(of_end(&id)).await?.is_some_and(|end| end == hex(&before))
            {
                return Ok(Thread { id, begins: false });
            }
        }
        Ok(Thread { id: Uuid::new_v4().simple().to_string(), begins: true })
    }

    async fn of(&self, id: String) -> Result<Thread, ApiError> {
        let begins = self.read(of_end(&id)).await?.is_none();
        Ok(Thread { id, begins })
    }

    /// The call was taken: the thread's end is its message.
    pub(super) async fn taken(&self, thread: &str, prints: &Prints) -> Result<(), ApiError> {
        self.keep(of_end(thread), &hex(&prints.with_message)).await
    }

    /// The call had been taken before; what could not be noted then is noted now.
    pub(super) async fn known(&self, thread: &str, prints: &Prints) -> Result<(), ApiError> {
        match self.read(of_end(thread)).await? {
            Some(_) => Ok(()),
            None => self.taken(thread, prints).await,
        }
    }

    /// It was answered. A call that is repeated when its conversation has gone on changes nothing.
    pub(super) async fn answered(&self, thread: &str, prints: &Prints, answer: &str) -> Result<(), ApiError> {
        if !self.ends_with(thread, prints).await? {
            return Ok(());
        }
        let whole = prints.with_answer(answer);
        self.keep(whole, thread).await?;
        self.keep(of_end(thread), &hex(&whole)).await
    }

    /// It was not answered: the same message may come again.
    pub(super) async fn failed(&self, thread: &str, prints: &Prints) -> Result<(), ApiError> {
        if !self.ends_with(thread, prints).await? {
            return Ok(());
        }
        self.keep(of_end(thread), &hex(&prints.before)).await
    }

    async fn ends_with(&self, thread: &str, prints: &Prints) -> Result<bool, ApiError> {
        Ok(self.read(of_end(thread)).await?.is_some_and(|end| end == hex(&prints.with_message)))
    }
}

fn named(what: &str, name: &str) -> [u8; 32] {
    Sha256::new_with_prefix(format!("cofferdam {what} 1\0")).chain_update(name).finalize().into()
}

fn of_end(thread: &str) -> [u8; 32] {
    named("end of thread", thread)
}

fn of_call(call: &str) -> [u8; 32] {
    named("thread of call", call)
}

/// The caller's own id of its call.
fn call_id(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(id) = headers.get("idempotency-key") else { return Ok(None) };
    let id = id.to_str().unwrap_or_default();
    if (1..=MOST_ID).contains(&id.len()) {
        return Ok(Some(id));
    }
    Err(ApiError::unreadable(format!("Idempotency-Key is not 1 to {MOST_ID} visible characters.")))
}

/// The id of a call's message on this platform: the caller's own id of it in our form, or a fresh one with its time.
pub(super) fn message_id(call: Option<&str>) -> Uuid {
    match call {
        Some(call) => {
            let hash = named("call", call);
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&hash[..16]);
            uuid::Builder::from_custom_bytes(bytes).into_uuid()
        }
        None => Uuid::now_v7(),
    }
}

/// When a message was handed in, s since 1970, if its id has that.
pub(super) fn created(id: &Uuid) -> Option<i64> {
    i64::try_from(id.get_timestamp()?.to_unix().0).ok()
}

/// A response's id.
pub(super) fn response_id(thread: &str, id: &Uuid) -> String {
    format!("resp_{thread}_{}", id.simple())
}

/// The thread and the message of a response's id. Both are looked for among those of the key alone.
pub(super) fn parts(id: &str) -> Option<(&str, Uuid)> {
    let (thread, message) = id.strip_prefix("resp_")?.rsplit_once('_')?;
    let message = Uuid::try_parse(message).ok()?;
    is_name(thread).then_some((thread, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_responses_id_reads_back_and_others_do_not() {
        let id = message_id(None);
        assert!(created(&id).is_some());
        assert_eq!(parts(&response_id("a_b.c", &id)), Some(("a_b.c", id)));
        for wrong in
            ["", "resp_", "resp_a_", "resp_a_x", "chatcmpl_a_0", &response_id("a/b", &id), &response_id("", &id)]
        {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_call_with_an_id_has_the_same_message_each_time() {
        assert_eq!(message_id(Some("a")), message_id(Some("a")));
        assert_ne!(message_id(Some("a")), message_id(Some("b")));
        assert_ne!(message_id(None), message_id(None));
    }
}
