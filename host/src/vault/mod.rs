//! Logins and keys of accounts: what they are, how they are had and kept fresh.

pub mod keep;
pub mod tokens;

pub use keep::{Keep, KeepError};
pub use tokens::{BadSecret, Secret, Tokens};
