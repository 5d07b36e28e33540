//! The runner: what runs in a session's container, under the init, and drives the coding agent.
//!
//! ```text
//! hello ──► forwarder listens ─┐
//!           provider starts ───┼──► next ──► turn ──► events … finish (acknowledged) ──► next …
//!           first next ────────┘
//! ```
//!
//! - [`door`]: calls to the host through the door's Unix socket, with retries.
//! - [`outbox`]: events on their way to the host, in order, until they are acknowledged.
//! - [`forward`]: a loopback port that leads to the door, for the agent's own HTTP traffic.
//! - [`host`]: a running turn's calls to the host. - [`control`]: the host's orders for it.
//! - [`session`]: the poll loop.
//! - [`format`](mod@format): messages as the text of a turn.
//! - [`work`]: whether the agent's processes work, though they say nothing.
//! - [`provider`]: the agents. Nothing outside knows their words.
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | told to stop, by the host or by SIGTERM or SIGINT |
//! | 1 | something in the runner or its container failed (the log says what) |
//! | 2 | its environment or command line is wrong |
//! | 3 | the host was not there for ten minutes |
//! | 4 | the host refused it: a stale attempt, a wrong token or another protocol version |
//!
//! # Environment
//! | variable | meaning |
//! |---|---|
//! | `COFFERDAM_ATTEMPT` | the attempt's number; required |
//! | `COFFERDAM_DOOR` | the door's socket; default `/run/cofferdam/door.sock` |
//! | `COFFERDAM_FORWARD_PORT` | the loopback port that leads to the door; default 8787, 0 takes any free one |
//! | `COFFERDAM_CODEX` | the codex program; default `codex` on the `PATH` |
//! | `COFFERDAM_LOG` | what is logged, such as `debug` or `cofferdam_agent_runner=trace`; default `info` |
//!
//! The agent sees none of the `COFFERDAM_` variables.

pub mod bounds;
pub mod config;
pub mod control;
pub mod door;
pub mod format;
pub mod forward;
pub mod host;
pub mod outbox;
pub mod provider;
pub mod session;
pub mod work;

pub use session::{RunError, run};
