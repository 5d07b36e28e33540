//! The answer of a turn as far as it is written.

use std::sync::Arc;

use cofferdam_protocol::runner::ActivityKind;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::live::Live;

/// The most bytes that are kept of an answer that grows; platforms show the end of it.
const MOST: usize = 64 * 1024;

/// A growing answer.
pub(super) struct Draft {
    pieces: broadcast::Receiver<Arc<Live>>,
    text: String,
    /// Nothing more comes.
    over: bool,
}

impl Draft {
    /// The answer whose pieces come here.
    pub(super) fn of(pieces: broadcast::Receiver<Arc<Live>>) -> Self {
        Self { pieces, text: String::new(), over: false }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Waits until there is more.
    pub(super) async fn grows(&mut self) {
        while !self.over {
            let heard = self.pieces.recv().await;
            if self.hear(heard) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Takes in what is there already.
    pub(super) fn catch_up(&mut self) {
        loop {
            match self.pieces.try_recv() {
                Ok(live) => _ = self.hear(Ok(live)),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => {
                    _ = self.hear(Err(RecvError::Lagged(missed)))
                }
                Err(_) => return,
            }
        }
    }

    fn hear(&mut self, heard: Result<Arc<Live>, RecvError>) -> bool {
        match heard.as_deref() {
            Ok(Live::Delta(text)) => self.push(text),
            // What was written so far was not the answer.
            Ok(Live::Activity(ActivityKind::Commentary, _) | Live::Retrying { .. }) => self.text.clear(),
            Ok(_) => return false,
            // A gap would read as nonsense: the rest begins anew.
            Err(RecvError::Lagged(_)) => self.text.clear(),
            Err(RecvError::Closed) => self.over = true,
        }
        true
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() > MOST {
            let from = self.text.ceil_char_boundary(self.text.len() - MOST / 2);
            self.text.drain(..from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(text: &str) -> Arc<Live> {
        Arc::new(Live::Delta(text.to_owned()))
    }

    #[tokio::test]
    async fn an_answer_grows_and_begins_anew_after_what_was_no_answer() {
        let (sender, receiver) = broadcast::channel(8);
        let mut draft = Draft::of(receiver);
        sender.send(delta("I look")).unwrap();
        draft.grows().await;
        assert_eq!(draft.text(), "I look");
        sender.send(Arc::new(Live::Activity(ActivityKind::Commentary, "I look".into()))).unwrap();
        sender.send(delta("It ")).unwrap();
        sender.send(delta("is so")).unwrap();
        draft.catch_up();
        assert_eq!(draft.text(), "It is so");
        (0..9).for_each(|_| _ = sender.send(delta("x")));
        draft.catch_up();
        assert_eq!(draft.text(), "xxxxxxxx", "no gap in the middle");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (_sender, receiver) = broadcast::channel(1);
        let mut draft = Draft::of(receiver);
        for _ in 0..1000 {
            draft.push(&"é".repeat(500));
            assert!(draft.text().len() <= MOST);
        }
    }
}
