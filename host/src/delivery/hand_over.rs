//! One reply's way to its channel, bounded, and what came of it kept.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use cofferdam_protocol::ids::ReplyId;
use futures_util::FutureExt;
use tokio::sync::SemaphorePermit;

use super::pieces::Handed;
use super::{Inner, Whose};
use crate::channels::{Channel, Piece, Receipt, SendError};
use crate::model::action::Action;
use crate::model::delivery::{Miss, Next};
use crate::model::reply::Outbound;
use crate::pace::Gate;
use crate::store::group::outbox::{NextReply, Sent};
use crate::store::{Outbox, StoreError, now_ms};

/// The pause before what came of a reply is written down again, after the disk refused.
const AGAIN: Duration = Duration::from_secs(2);

/// What a lane does after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Looks at what is next.
    Next,
    /// Waits for a nudge.
    Wait,
    /// Ends: we are ending.
    End,
}

/// What came of a reply.
#[derive(Clone, Copy)]
pub(super) enum Came<'a> {
    /// The channel has a piece of it; what it said of that, and whether that was the last.
    Over(&'a Sent, bool),
    /// The channel does not have it, or may not, for this reason.
    Short(Miss, &'a str),
}

/// What is written down of it.
pub(super) enum Kept {
    /// It is delivered.
    Over,
    /// It is not, and this becomes of it.
    Short(Next),
    /// Nothing, and we are ending: the next start finds the lease.
    Ending,
}

impl Inner {
    /// Hands a leased reply over, and keeps what came of it.
    pub(super) async fn hand_over(
        &self,
        store: &Outbox,
        (channel, gate): (&dyn Channel, &Gate),
        slot: SemaphorePermit<'_>,
        reply: &Outbound,
    ) -> Result<Then, StoreError> {
        if reply.doubts > 0 {
            let (doubts, idempotent) = (reply.doubts, channel.abilities().idempotent);
            tracing::info!(reply = %reply.id, chat = %reply.chat, doubts, idempotent, "sent again, though it may have arrived");
        }
        if is_close(reply) && !can_close(channel, reply) {
            return self.let_be(store, reply).await;
        }
        let error = match self.in_pieces(store, (channel, gate), slot, reply).await? {
            Handed::Over(then) => return Ok(then),
            Handed::Short(error) => error,
        };
        // Nothing waits for a change of how a question looks.
        if !is_close(reply) || matches!(error, SendError::Later { whole_channel: true, .. }) {
            gate.heed(&reply.chat, &error);
        }
        if is_close(reply) && matches!(error, SendError::Refused { .. }) {
            tracing::info!(reply = %reply.id, chat = %reply.chat, why = %error, "a question's message stays as it is");
            return self.let_be(store, reply).await;
        }
        let miss = match &error {
            SendError::Absent => Miss::Absent,
            SendError::Later { after, .. } => Miss::Later { after: *after },
            SendError::Disk { .. } => Miss::Later { after: None },
            SendError::Refused { .. } => Miss::Refused,
            SendError::Doubt { .. } => Miss::Doubt { idempotent: channel.abilities().idempotent },
        };
        self.keep_miss(store, reply, miss, &error.to_string()).await
    }

    /// A question's message stays as it is: nobody misses a change of it.
    async fn let_be(&self, store: &Outbox, reply: &Outbound) -> Result<Then, StoreError> {
        let nothing = Sent { place: 0, id: None, shown: false };
        let kept = self.keep(store, reply.id, Came::Over(&nothing, true)).await?;
        Ok(if matches!(kept, Kept::Ending) { Then::End } else { Then::Next })
    }

    /// A chat on a channel that this home no longer has.
    pub(super) async fn no_channel(&self, store: &Outbox, due: &Whose) -> Result<Then, StoreError> {
        let NextReply::Leased(reply) = store.lease(&due.chat, false).await? else { return Ok(Then::Next) };
        let why = format!("there is no channel '{}' here", due.chat.channel);
        self.keep_miss(store, &reply, Miss::Refused, &why).await
    }

    async fn keep_miss(&self, store: &Outbox, reply: &Outbound, miss: Miss, why: &str) -> Result<Then, StoreError> {
        let kept = self.keep(store, reply.id, Came::Short(miss, why)).await?;
        let (chat, tries) = (&reply.chat, reply.tries + i64::from(miss.is_failure()));
        match kept {
            Kept::Ending => return Ok(Then::End),
            Kept::Short(_) if miss == Miss::Absent => return Ok(Then::Wait),
            Kept::Short(Next::At(at)) => {
                let (seconds, doubt) = ((at - now_ms()) / 1000, miss.is_doubt());
                tracing::warn!(reply = %reply.id, %chat, why, tries, doubt, "not delivered; again in {seconds} s");
            }
            Kept::Short(Next::Dead) if is_close(reply) => {
                tracing::info!(reply = %reply.id, %chat, why, tries, "a question's message stays as it is");
            }
            Kept::Short(Next::Dead) => {
                tracing::error!(
                    reply = %reply.id, %chat, why, tries,
                    "not delivered, for the last time; `cofferdam dead-letter list` has it"
                );
            }
            Kept::Over => {}
        }
        Ok(Then::Next)
    }

    /// Writes down what came of a reply, again and again while the disk refuses: what is known to have arrived is not sent
    /// again for that.
    pub(super) async fn keep(&self, store: &Outbox, reply: ReplyId, came: Came<'_>) -> Result<Kept, StoreError> {
        loop {
            let kept = match came {
                Came::Over(sent, last) => store.sent(reply, sent.clone(), last).await.map(|()| Kept::Over),
                Came::Short(miss, why) => store.missed(reply, miss, why.to_owned()).await.map(Kept::Short),
            };
            match kept {
                Err(error) if error.is_disk() => {
                    let error = crate::error_chain(&error);
                    tracing::error!(%reply, error, "what came of the reply is not written down yet; tried again");
                }
                kept => return kept,
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(Kept::Ending),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// Whether it only changes how a question's message looks.
fn is_close(reply: &Outbound) -> bool {
    matches!(reply.action, Some(Action::Close(_)))
}

/// Whether there are buttons to take away.
fn can_close(channel: &dyn Channel, reply: &Outbound) -> bool {
    let can = channel.abilities();
    can.edit && can.buttons && !reply.onto.is_empty()
}

/// Hands a piece over within the channel's time. What breaks inside the channel leaves the same doubt as silence.
pub(super) async fn send(
    channel: &dyn Channel,
    reply: &Outbound,
    piece: (usize, &Piece),
    onto: Option<&str>,
) -> Result<Receipt, SendError> {
    let patience = channel.patience(reply);
    let sent = AssertUnwindSafe(channel.send(reply, piece, onto)).catch_unwind();
    match tokio::time::timeout(patience, sent).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(SendError::Doubt { why: format!("the channel {} failed inside", channel.name()) }),
        Err(_) => Err(SendError::Doubt { why: format!("no answer within {} s", patience.as_secs()) }),
    }
}
