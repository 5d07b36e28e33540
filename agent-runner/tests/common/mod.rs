//! What the runner's tests share: a door that speaks the protocol, a model that follows a script, a runner.
#![allow(dead_code, missing_docs, reason = "each test binary uses its own part")]

pub mod codex;
pub mod door;
pub mod http;
pub mod model;
pub mod orders;
pub mod runner;
pub mod setup;
