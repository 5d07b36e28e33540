//! Cofferdam's host: the daemon that owns all state, and the CLI that talks to it.
//!
//! ARCHITECTURE.md has the codemap, the data path and who may import whom.

pub mod admin;
pub mod channels;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod door;
pub mod gateway;
pub mod live;
pub mod model;
pub mod router;
pub mod sandbox;
pub mod store;
pub mod supervisor;
