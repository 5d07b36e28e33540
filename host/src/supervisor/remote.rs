//! The remote MCP servers of a session, from its files to its door.

use std::time::Duration;

use cofferdam_protocol::ids::{Folder, SessionId};

use crate::config::home::Home;
use crate::config::mcp::resolve::{Reached, Resolved};
use crate::config::process_env;
use crate::door::RemoteServer;
use crate::error_chain;
use crate::sandbox::mounts;

/// The servers that the session's container was, or will be, started with. When their values are not to be had any
/// more there are none, and the agent's calls are told so: a container that runs is not ended for it.
pub(super) fn servers(home: &Home, folder: &Folder, session: &SessionId) -> Vec<RemoteServer> {
    match mounts::started_with(home, folder, session, &process_env) {
        Ok(servers) => servers.into_iter().filter_map(remote).collect(),
        Err(error) => {
            let error = error_chain(&error);
            tracing::warn!(group = %folder, %session, error, "the session goes on without its remote MCP servers");
            Vec::new()
        }
    }
}

fn remote(server: Resolved) -> Option<RemoteServer> {
    let Reached::Remote(remote) = server.reached else { return None };
    let wait = server.terms.startup_timeout_sec.max(server.terms.tool_timeout_sec);
    Some(RemoteServer {
        name: server.name,
        url: remote.url,
        headers: remote.headers,
        secrets: remote.secrets,
        wait: Duration::from_secs(wait),
    })
}
