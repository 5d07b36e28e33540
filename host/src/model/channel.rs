//! The platforms that channels are for.

/// A platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// Telegram.
    Telegram,
    /// Webhooks, and an API that OpenAI's clients speak.
    Http,
    /// A program that speaks our lines.
    Exec,
}

super::sql_state!(ChannelKind { Telegram = "telegram", Http = "http", Exec = "exec" });

/// Whose form a webhook's calls have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFormat {
    /// Our own: a text, signed with its time.
    Plain,
    /// GitHub's.
    GitHub,
}

super::sql_state!(HookFormat { Plain = "plain", GitHub = "github" });

/// How a signed call of a webhook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Its signature was never seen.
    New,
    /// It came before, and what it says was not taken then.
    Again,
    /// It came before, and was taken.
    Taken,
    /// Its signature came with another call's words.
    Copied,
}
