//! What changes while a turn runs: asked of the host again and again, until the turn ends.

use cofferdam_protocol::ids::{Attempt, TurnId};
use cofferdam_protocol::runner::{BatchMessage, CONTROL, Control, ControlRequest};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::door::{DoorError, Lane};

/// Where the host's orders for one turn go.
pub struct Orders {
    /// Cancelled when the turn shall end.
    pub interrupt: CancellationToken,
    /// Messages for the turn.
    pub steer: UnboundedSender<Vec<BatchMessage>>,
}

/// Follows the host's orders for this turn; ends only when the host does not want this runner. Dropping it is the end
/// of the turn, and loses nothing: what the turn did not take stays in the host's inbox.
pub async fn follow(mut lane: Lane, attempt: Attempt, turn: TurnId, orders: Orders) -> DoorError {
    let mut told = ControlRequest { attempt, turn, interrupted: false, offered: Vec::new() };
    loop {
        let control: Control = match lane.call(CONTROL, &told).await {
            Ok(control) => control,
            Err(error) => return error,
        };
        if control.interrupt && !told.interrupted {
            tracing::info!("the host stops the turn");
            orders.interrupt.cancel();
            told.interrupted = true;
        }
        let offers: Vec<_> = control.steer.into_iter().filter(|one| !told.offered.contains(&one.id)).collect();
        if !offers.is_empty() {
            told.offered.extend(offers.iter().map(|message| message.id));
            // A provider that takes no more of them leaves them where they are.
            let _ = orders.steer.send(offers);
        }
    }
}
