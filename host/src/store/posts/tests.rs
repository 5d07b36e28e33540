//! Posts that nobody takes, on a real file.

use super::*;
use crate::model::dead_letter::{DeadLetterEvent, DeadLetterState};
use crate::model::outage::{AT_ONCE, MOST};
use crate::store::ground::Ground;
use crate::store::group::dead_letters::{Settled, Woken};

struct Fixture {
    _dir: tempfile::TempDir,
    central: Central,
}

fn chat() -> ChatRef {
    ChatRef { channel: "tg".into(), chat_id: "1".into(), thread_id: None }
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let central = Central::open(&dir.path().join("central.db"), &Ground::default()).unwrap();
        Self { _dir: dir, central }
    }

    async fn says(&self, text: &str) {
        self.central.post(NewPost::new(chat(), text)).await.unwrap();
    }

    async fn leased(&self) -> Box<Outbound> {
        match self.central.lease_post(&chat()).await.unwrap() {
            NextReply::Leased(post) => post,
            other => panic!("{other:?}"),
        }
    }

    async fn time_passes(&self) {
        let sql = "UPDATE posts SET next_try_at = 1 WHERE next_try_at > 1";
        self.central.db.write(Durability::Relaxed, move |tx| Ok(tx.execute(sql, [])?)).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_post_is_a_dead_letter_that_goes_again_from_its_first_try() {
    let f = Fixture::new();
    f.says("one").await;
    f.says("two").await;
    let one = f.leased().await;
    let key = one.key.clone();
    assert_eq!(f.central.post_missed(one.id, Miss::Refused, "no such chat".into()).await.unwrap(), Next::Dead);
    assert_eq!(f.leased().await.text, "two", "the next goes on");
    let letters = f.central.post_letters(true).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.text.as_str(), letter.fate.error.as_str(), letter.fate.tries), ("one", "no such chat", 1));
    assert_eq!(f.central.open_post_letters().await.unwrap(), 1);
    let settle = |decision| f.central.settle_post_letter(letter.number, decision);
    assert_eq!(settle(DeadLetterEvent::Retry).await.unwrap(), Settled::Done(Woken::Chat(chat())));
    assert_eq!(
        settle(DeadLetterEvent::Drop).await.unwrap(),
        Settled::Already(DeadLetterState::Retried),
        "it is decided once"
    );
    let again = f.leased().await;
    assert_eq!((again.text.as_str(), again.tries, again.key), ("one", 0, key), "with the same key");
    assert_eq!(f.central.settle_post_letter(99, DeadLetterEvent::Drop).await.unwrap(), Settled::Unknown);
}

#[tokio::test]
async fn a_post_that_the_daemon_dies_over_waits_and_is_given_up_as_a_reply_is() {
    let f = Fixture::new();
    f.says("one").await;
    f.leased().await;
    for lost in 1..MOST {
        match f.central.lease_post(&chat()).await.unwrap() {
            NextReply::Leased(post) if lost <= AT_ONCE => assert_eq!(post.doubts, i64::from(lost)),
            NextReply::At(at) if lost > AT_ONCE => {
                assert!(at > now_ms());
                f.time_passes().await;
                f.leased().await;
            }
            other => panic!("{lost}: {other:?}"),
        }
    }
    assert!(matches!(f.central.lease_post(&chat()).await.unwrap(), NextReply::None), "it holds up nothing");
    let letters = f.central.post_letters(true).await.unwrap();
    assert!(letters[0].fate.error.contains("10 times") && letters[0].fate.tries == MOST, "{letters:?}");
}

#[tokio::test]
async fn what_waits_for_a_decision_is_kept_and_what_is_decided_goes_with_time() {
    let f = Fixture::new();
    for text in ["one", "two"] {
        f.says(text).await;
        let post = f.leased().await;
        f.central.post_missed(post.id, Miss::Refused, "no".into()).await.unwrap();
    }
    let all = f.central.settle_post_letter(1, DeadLetterEvent::Drop).await.unwrap();
    assert_eq!(all, Settled::Done(Woken::Nobody));
    let old = "UPDATE posts SET created_at = 1";
    f.central.db.write(Durability::Relaxed, move |tx| Ok(tx.execute(old, [])?)).await.unwrap();
    f.central.due_posts().await.unwrap();
    let left = f.central.post_letters(false).await.unwrap();
    assert_eq!(left.iter().map(|letter| letter.text.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(f.central.settle_post_letters(DeadLetterEvent::Retry).await.unwrap().len(), 1);
}
