//! The only reader of environment variables and configuration files; parsed once into types.
//!
//! - [`home`]: where everything lies.
//! - [`group`]: `container.json`; [`edit`] changes it.
//! - [`host`]: `cofferdam.toml`, `.env` and the environment.
//! - [`error`]: what is wrong with a file, and where.

pub mod edit;
pub mod error;
pub mod group;
pub mod home;
pub mod host;
mod read;
mod values;

pub use error::ConfigError;

/// The process's environment, as the loaders of this room take it; values that are not UTF-8 count as none.
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
