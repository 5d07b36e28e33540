//! Harness for the end-to-end tests; each suite is a file in `tests/`.
//!
//! Everything is real: the `cofferdam` binary, the Docker engine, the agent image, Codex, SQLite. What is played is
//! only the model: the host's own offline model, or a [`vendor::Vendor`] on loopback that notes what it was sent.
//!
//! | variable | what it is |
//! |---|---|
//! | `COFFERDAM_BIN` | the program under test; else `cofferdam` beside the test's own target directory |
//! | `COFFERDAM_RUNNER` | the static runner; else the daemon looks where cargo puts it |
//! | `COFFERDAM_TEST_HOME` | whose `data/cache` the homes of tests share; else this checkout |

pub mod admin;
pub mod chaos;
pub mod codex_cli;
pub mod disk;
pub mod dockerd;
pub mod door;
pub mod engine;
pub mod engine_proxy;
pub mod home;
pub mod irc;
pub mod issuer;
pub mod keyring;
pub mod node;
pub mod openai;
pub mod own_engine;
pub mod platform;
pub mod recorder;
pub mod rows;
pub mod telegram;
pub mod upstream;
pub mod vendor;
pub mod views;

use std::time::Duration;

/// The longest that anything may take in a test before it counts as stuck. Generous: the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Waits until `look` finds what it looks for; panics with `what` after [`LIMIT`].
///
/// For what cannot be awaited as an event. How often it looks decides nothing but how soon it goes on.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    const AGAIN: Duration = Duration::from_millis(20);
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    match tokio::time::timeout(LIMIT, looking).await {
        Ok(found) => found,
        Err(_) => panic!("never: {what}"),
    }
}
