//! Hands an arrival in, and tells Telegram what came of a button's press.

use std::sync::Arc;
use std::time::Duration;

use frankenstein::methods::AnswerCallbackQueryParams;

use super::api::Api;
use super::words::cut;
use crate::channels::{Arrival, Intake, NotTaken, Taken};

/// The longest text that a press is answered with, in characters (Telegram's own limit).
const ANSWER: usize = 200;
/// How long telling it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where arrivals go. Clones are the same.
#[derive(Clone)]
pub(super) struct Taking {
    pub(super) api: Arc<Api>,
    pub(super) intake: Arc<dyn Intake>,
}

impl Taking {
    /// Hands it in. `press` is what Telegram waits by for an answer.
    pub(super) async fn take(&self, arrival: Arrival, press: Option<String>) -> Result<(), NotTaken> {
        let taken = self.intake.take(arrival).await?;
        if let Some(id) = press {
            let text = match taken {
                Taken::Done(text) if !text.is_empty() => Some(cut(&text, ANSWER)),
                _ => None,
            };
            tokio::spawn(answer(self.api.clone(), id, text));
        }
        Ok(())
    }
}

/// Ends the button's waiting mark. A hint: Telegram forgets a press after a while, and the press was taken all the same.
async fn answer(api: Arc<Api>, id: String, text: Option<String>) {
    let params = AnswerCallbackQueryParams::builder().callback_query_id(id).maybe_text(text).build();
    if let Err(error) = api.call::<bool>("answerCallbackQuery", &params, PATIENCE).await {
        tracing::debug!(%error, "a press was not answered");
    }
}
