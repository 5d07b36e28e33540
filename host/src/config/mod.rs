//! The only reader of environment variables and configuration files; parsed once into types.
//!
//! - [`home`]: where everything lies.
//! - [`group`]: `container.json`.
//! - [`host`]: `cofferdam.toml`, `.env` and the environment.

pub mod group;
pub mod home;
pub mod host;
