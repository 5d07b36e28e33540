//! How fast a platform takes replies, as it publishes it.

use std::time::Duration;

/// The limits of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Into one chat.
    pub chat: Rate,
    /// Into all chats together.
    pub all: Rate,
    /// The most replies that are handed over at the same time, in different chats.
    pub at_once: usize,
}

/// So many at once, and then one each so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The most at once; at least one.
    pub burst: u32,
    /// The time after which one more may go; zero is no limit.
    pub every: Duration,
}

impl Rate {
    /// As fast as it goes.
    pub const UNLIMITED: Self = Self { burst: u32::MAX, every: Duration::ZERO };

    /// One after each such time, and none saved up.
    pub const fn each(every: Duration) -> Self {
        Self { burst: 1, every }
    }
}

impl Pace {
    /// No published limit. At most 32 at once all the same: each holds a connection and, for a file, its bytes.
    pub const UNLIMITED: Self = Self { chat: Rate::UNLIMITED, all: Rate::UNLIMITED, at_once: 32 };
}

/// What is about to be shown, as far as a platform's pace has a word in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Showing {
    /// A message, new or changed: counts in its chat and in all.
    Message,
    /// What is no message, such as a typing mark: counts in all.
    Mark,
}

/// The room that the pace leaves for what is only shown.
pub trait Room: Send + Sync {
    /// Whether this may go now. It is counted then, so it is asked right before the call; a no means that this showing is left
    /// out, for nobody waits for room here.
    fn has(&self, what: Showing) -> bool;
}

impl<F: Fn(Showing) -> bool + Send + Sync> Room for F {
    fn has(&self, what: Showing) -> bool {
        self(what)
    }
}
