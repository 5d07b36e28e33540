//! Types on the wire of Cofferdam, and nothing else: no I/O, no policy.
//!
//! - [`ids`]: the names of things, parsed once at the boundary.
//! - [`runner`]: what the runner in a container and the host say to each other through the door.
//! - [`admin`]: what the CLI and the daemon say to each other through the admin socket.

pub mod admin;
pub mod ids;
pub mod runner;

/// Version of the runner protocol; `hello` with another one is refused.
pub const RUNNER_PROTOCOL: u32 = 2;
