//! `mcpServers` of a `container.json`, in the format that Claude Desktop and Cursor use.
//!
//! - [`written`]: the format; here is what it means.
//! - [`template`]: texts with `${NAME}` in them. [`resolve`]: the same with the host's values.

pub mod resolve;
pub mod template;
pub mod written;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use template::Template;
use written::Written;

/// A group's servers by name: letters, digits, `_` and `-`.
pub type McpServers = BTreeMap<String, McpServer>;

/// One server that offers tools to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct McpServer {
    /// How it is reached.
    pub transport: Transport,
    /// It is left out.
    pub disabled: bool,
    /// How the agent works with it.
    pub terms: Terms,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A program in the container, spoken to over its standard input and output.
    Stdio {
        /// The program.
        command: Template,
        /// Its arguments.
        args: Vec<Template>,
        /// Its environment. The agent can read it.
        env: BTreeMap<String, Template>,
    },
    /// An address, reached by the host. Its headers stay there.
    Remote {
        /// The Streamable HTTP endpoint.
        url: Template,
        /// Headers of every request.
        headers: BTreeMap<String, Template>,
    },
}

/// How the agent works with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Without it the session does not start.
    pub required: bool,
    /// How long it may take to start, in seconds.
    pub startup_timeout_sec: u64,
    /// How long one call may take, in seconds.
    pub tool_timeout_sec: u64,
    /// The only tools that are offered; none offers all.
    pub enabled_tools: Option<Vec<String>>,
}

impl McpServer {
    /// The texts that the host's values may be in, each with its key below the server's.
    fn templates(&self) -> Vec<(String, &Template)> {
        match &self.transport {
            Transport::Stdio { command, args, env } => {
                let args = args.iter().enumerate().map(|(at, arg)| (format!("args[{at}]"), arg));
                let env = env.iter().map(|(name, value)| (format!("env.{name}"), value));
                [("command".to_owned(), command)].into_iter().chain(args).chain(env).collect()
            }
            Transport::Remote { url, headers } => {
                let headers = headers.iter().map(|(name, value)| (format!("headers.{name}"), value));
                [("url".to_owned(), url)].into_iter().chain(headers).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
