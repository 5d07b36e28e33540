//! The only reader of environment variables and configuration files; parsed once into types.
//!
//! - [`home`]: where everything lies.
//! - [`group`]: `container.json`; [`edit`] changes it. [`mcp`], [`conversation`], [`credentials`], [`zone`]: parts of it.
//! - [`host`]: `cofferdam.toml`, `.env` and the environment; [`host_values`]: what groups may take of it; [`vault_key`]: a part.
//! - [`retries`]: how often starts are tried. - [`agents`]: the instructions of groups.
//! - [`error`]: what is wrong with a file, and where.

pub mod agents;
pub mod conversation;
pub mod credentials;
pub mod edit;
pub mod error;
pub mod group;
pub mod home;
pub mod host;
pub mod host_values;
pub mod mcp;
pub mod network;
pub mod pool;
mod read;
pub mod retries;
mod values;
pub mod vault_key;
pub mod zone;

pub use error::ConfigError;

/// The process's environment, as the loaders of this room take it; values that are not UTF-8 count as none.
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
