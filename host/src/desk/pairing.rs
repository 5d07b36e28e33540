//! Codes by which somebody on a platform shows who they are: made on the host, used once, soon over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cofferdam_protocol::ids::Folder;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Desk, failed, words};
use crate::channels::{Arrival, NotTaken, Taken};
use crate::model::people::Role;
use crate::router::DropReason;
use crate::store::pairing::{Showing, Shown};
use crate::store::people::{NewUser, Pairing};
use crate::store::{StoreError, now_ms};

/// Letters and digits that nobody mistakes for each other: 31, so eight of them are 39 bits.
const ALPHABET: &[u8; 31] = b"ABCDEFGHJKMNPQRSTUVWXYZ23456789";
const LENGTH: usize = 8;
/// Wrong codes of one sender, and of all, in [`WINDOW`]. With 39 bits that leaves a guesser less than one in a billion.
const TRIES: u32 = 5;
const TRIES_OF_ALL: u32 = 100;
const WINDOW: Duration = Duration::from_secs(600);

/// What a code is made for.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// What its user becomes, unless they are more already; none changes no role.
    pub role: Option<Role>,
    /// In this group only; the chat it is used in is wired to it too.
    pub folder: Option<Folder>,
    /// The person that is meant; none makes a new one.
    pub person: Option<i64>,
    /// How long it is good for.
    pub lasts: Duration,
}

/// Wrong codes, lately.
#[derive(Default)]
pub(super) struct Tries(Mutex<HashMap<Guesser, Guesses>>);

/// A channel and a sender on it; none: all together.
type Guesser = Option<(String, String)>;
/// How many, and since when.
type Guesses = (u32, Instant);

impl Tries {
    /// Whether a sender may try. It counts as wrong until it is [`Tries::forgiven`]: so many at once are not more.
    fn may(&self, sender: &(String, String)) -> bool {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tries.retain(|_, (_, since)| since.elapsed() <= WINDOW);
        let within = |key: &Guesser, most: u32| tries.get(key).is_none_or(|(count, _)| *count < most);
        if !within(&Some(sender.clone()), TRIES) || !within(&None, TRIES_OF_ALL) {
            return false;
        }
        for key in [Some(sender.clone()), None] {
            tries.entry(key).or_insert((0, Instant::now())).0 += 1;
        }
        true
    }

    /// It was no wrong code.
    fn forgiven(&self, sender: (String, String)) {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in [Some(sender), None] {
            if let Some((count, _)) = tries.get_mut(&key) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

impl Desk {
    /// Makes a code.
    pub async fn new_code(&self, new: NewCode) -> Result<String, StoreError> {
        let code = fresh();
        let lasts = i64::try_from(new.lasts.as_millis()).unwrap_or(i64::MAX / 2);
        let pairing = Pairing {
            code: hash(&code),
            role: new.role,
            folder: new.folder,
            person: new.person,
            expires_at: now_ms().saturating_add(lasts),
        };
        self.inner.stores.central().put_pairing(pairing).await?;
        Ok(code)
    }

    /// Somebody shows a code.
    pub(super) async fn pair(&self, arrival: &Arrival, code: &str) -> Result<Taken, NotTaken> {
        let sender = (arrival.chat.channel.clone(), arrival.sender.id.clone());
        if !self.inner.codes.may(&sender) {
            return self.dropped(arrival, DropReason::BadCode).await;
        }
        let direct = self.is_read(arrival).then(|| arrival.chat.chat_id.clone());
        let user = NewUser {
            channel: arrival.chat.channel.clone(),
            user_id: arrival.sender.id.clone(),
            name: arrival.sender.name.clone(),
            direct,
        };
        let showing = Showing {
            code: hash(code),
            user,
            chat: arrival.chat.clone(),
            kind: arrival.kind,
            title: arrival.title.clone(),
            platform_id: arrival.platform_id.clone(),
        };
        let shown = self.inner.stores.central().pair(showing, words::shown).await;
        if !matches!(shown, Ok(Some((Shown::Wrong, _)))) {
            self.inner.codes.forgiven(sender);
        }
        let Some((shown, words)) = shown.map_err(failed)? else { return Ok(Taken::Known) };
        self.told([arrival.chat.clone()]);
        let paired = match shown {
            Shown::Opened(paired) => paired,
            Shown::Wrong => return self.dropped(arrival, DropReason::BadCode).await,
            Shown::Another => return Ok(Taken::Done(words)),
        };
        let role = paired.role.map(Role::as_str);
        tracing::info!(chat = %arrival.chat, sender = arrival.sender.id, person = paired.person, role, "paired");
        // Behind the greeting comes what they may decide.
        self.look_soon();
        Ok(Taken::Done(words))
    }
}

/// A code that nobody guesses, from the operating system's randomness.
fn fresh() -> String {
    let mut code = String::new();
    while code.len() < LENGTH + 1 {
        // What would make some letters likelier is thrown away. A v4 UUID has 122 random bits; its first six bytes are whole.
        for byte in uuid::Uuid::new_v4().as_bytes().iter().take(6).filter(|byte| usize::from(**byte) < 31 * 8) {
            if code.len() == LENGTH / 2 {
                code.push('-');
            }
            if code.len() < LENGTH + 1 {
                code.push(char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
            }
        }
    }
    code
}

/// A code's hash, however it was typed.
fn hash(code: &str) -> [u8; 32] {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    Sha256::digest(plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_are_known_however_they_are_typed() {
        let codes: std::collections::HashSet<String> = (0..1000).map(|_| fresh()).collect();
        assert_eq!(codes.len(), 1000);
        for code in &codes {
            let (left, right) = code.split_once('-').unwrap();
            assert!(left.len() == 4 && right.len() == 4, "{code}");
            assert_eq!(hash(code), hash(&format!(" {}{} ", left.to_lowercase(), right)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_not_listened_to_for_a_while() {
        let tries = Tries::default();
        let sender = |id: &str| ("tg".to_owned(), id.to_owned());
        for _ in 0..TRIES {
            assert!(tries.may(&sender("a")));
        }
        assert!(!tries.may(&sender("a")));
        for _ in 0..TRIES * 2 {
            assert!(tries.may(&sender("b")), "whose codes are right");
            tries.forgiven(sender("b"));
        }
        for number in 0..TRIES_OF_ALL - TRIES {
            assert!(tries.may(&sender(&number.to_string())));
        }
        assert!(!tries.may(&sender("b")), "also not in many names");
        tokio::time::sleep(WINDOW * 2).await;
        assert!(tries.may(&sender("a")) && tries.may(&sender("b")));
    }
}
