//! A reply's messages, one after the other. Each is kept before the next one goes, so that a reply that was cut off goes on
//! where it stood.

use tokio::sync::SemaphorePermit;

use super::Inner;
use super::hand_over::{Came, Kept, Then, send};
use crate::channels::{Channel, Piece, SendError};
use crate::model::reply::Outbound;
use crate::pace::Gate;
use crate::store::group::outbox::Sent;
use crate::store::{Outbox, StoreError};

/// What came of a reply's pieces.
pub(super) enum Handed {
    /// The channel has all, or we are ending.
    Over(Then),
    /// It did not take one.
    Short(SendError),
}

impl Inner {
    /// Hands over the pieces that the platform does not have yet.
    pub(super) async fn in_pieces(
        &self,
        store: &Outbox,
        (channel, gate): (&dyn Channel, &Gate),
        slot: SemaphorePermit<'_>,
        reply: &Outbound,
    ) -> Result<Handed, StoreError> {
        let mut slot = Some(slot);
        let pieces = pieces(channel, reply);
        let last = pieces.len() - 1;
        for (place, piece) in pieces.iter().enumerate().skip(reply.sent.len().min(last)) {
            if slot.is_none() {
                slot = self.pass((channel, gate), &reply.chat).await;
            }
            if slot.is_none() {
                return Ok(Handed::Over(Then::End));
            }
            let kept = match self.piece(store, channel, reply, (place, piece, place == last)).await? {
                Ok(kept) => kept,
                Err(error) => return Ok(Handed::Short(error)),
            };
            if matches!(kept, Kept::Ending) {
                return Ok(Handed::Over(Then::End));
            }
            // The next message passes the gate for itself.
            slot = None;
        }
        crate::hooks::crash_point("delivered.after_commit");
        Ok(Handed::Over(Then::Next))
    }

    async fn piece(
        &self,
        store: &Outbox,
        channel: &dyn Channel,
        reply: &Outbound,
        (place, piece, last): (usize, &Piece, bool),
    ) -> Result<Result<Kept, SendError>, StoreError> {
        // A turn's first words take the place of what it showed.
        let turn = reply.turn.filter(|_| place == 0 && reply.action.is_none() && channel.abilities().edit);
        let _alone = match turn.zip(store.folder()) {
            Some((turn, folder)) => Some(self.shown.alone(folder, turn).await),
            None => None,
        };
        let shown = match turn {
            Some(turn) => store.shown(turn).await?.filter(|shown| shown.chat == reply.chat),
            None => None,
        };
        let onto = reply.onto.get(place).or(shown.as_ref().map(|shown| &shown.id)).map(String::as_str);
        let receipt = match send(channel, reply, (place, piece), onto).await {
            Ok(receipt) => receipt,
            Err(error) => return Ok(Err(error)),
        };
        crate::hooks::crash_point("sent");
        let sent = Sent { place, id: receipt.id, shown: shown.is_some() };
        Ok(Ok(self.keep(store, reply.id, Came::Over(&sent, last)).await?))
    }
}

/// All that is to go: the reply's pieces, and then what is left of the messages that it changes.
fn pieces(channel: &dyn Channel, reply: &Outbound) -> Vec<Piece> {
    let mut pieces = channel.pieces(reply);
    if pieces.is_empty() {
        pieces.push(Piece::Whole);
    }
    if pieces[0] != Piece::Whole {
        let surplus = reply.onto.len().saturating_sub(pieces.len());
        pieces.extend(std::iter::repeat_n(Piece::Gone, surplus));
    }
    pieces
}
