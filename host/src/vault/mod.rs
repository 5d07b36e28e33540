//! Logins and keys of accounts: what they are, how they are had and kept fresh.

pub mod tokens;

pub use tokens::{BadSecret, Secret, Tokens};
