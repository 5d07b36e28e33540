//! What a start leaves that nobody knows the end of: the engine may make the container later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use super::{LABEL_ATTEMPT, LABEL_INSTALL, LABEL_SESSION, labelled, remove};
use crate::error_chain;
use crate::sandbox::{ContainerId, Owner};

/// The shortest and the longest pause between two looks.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long after the engine's first answer the container is still looked for: as long as a start may take.
const LATE: Duration = Duration::from_secs(120);

/// Removes the attempt's container, if there is one or comes to be, as soon as the engine answers.
pub(super) fn later(link: Arc<Link>, owner: Owner) {
    tokio::spawn(async move {
        let labels = [
            (LABEL_INSTALL, owner.install.clone()),
            (LABEL_SESSION, owner.session.to_string()),
            (LABEL_ATTEMPT, owner.attempt.to_string()),
        ];
        let labels = labels.map(|(name, value)| format!("{name}={value}")).to_vec();
        let (mut end, mut pause) = (None, AGAIN.0);
        while end.is_none_or(|end| Instant::now() < end) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
            let Ok(found) = labelled(&link, labels.clone()).await else { continue };
            end.get_or_insert_with(|| Instant::now() + LATE);
            let (mut ids, mut removed) = (found.into_iter().filter_map(|found| found.id), false);
            if let Some(id) = ids.next().map(ContainerId) {
                match remove(&link, &id).await {
                    Ok(()) => removed = true,
                    Err(error) => tracing::debug!(container = %id, error = %error_chain(&error), "not removed yet"),
                }
            }
            if removed {
                tracing::info!(attempt = %owner.attempt, "removed what a start had left");
                return;
            }
        }
    });
}
