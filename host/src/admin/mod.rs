//! The daemon's own socket: what the CLI asks. HTTP/1.1 on a Unix socket, 0600; whoever can open it owns the home.
//!
//! - [`accounts`]: who serves model calls. - [`usage`]: what they cost, and what became of them.
//! - [`answers`]: groups, sessions, status. - [`detail`]: a session in depth. - [`wirings`]: chats of groups.
//! - [`dead_letters`]: what was tried for the last time.
//! - [`chat`]: the terminal's messages and their streamed answers; [`intake`]: how many at once.
//! - [`files`]: what people send along. - [`events`]:
//!   replies as a client sees them. - [`follow`]: a session as it goes on, with [`log_tail`]. - [`schema`]: of answers.
//! - [`ending`]: what is still answered at the end.
//! - [`disk`]: whether it takes writes. - [`backup`]: backups, and back. - [`error`]: every error as a person reads it.

mod accounts;
mod answers;
mod approvals;
mod backup;
mod channels;
mod chat;
mod dead_letters;
mod detail;
mod disk;
mod ending;
mod error;
mod events;
mod files;
mod follow;
mod intake;
mod log_tail;
mod people;
mod programs;
mod removal;
mod schema;
mod usage;
mod wirings;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use cofferdam_protocol::admin::{MAX_MESSAGE_BYTES, MAX_SCHEMA_BYTES};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::channels::terminal::Terminal;
use crate::config::home::Home;
use crate::delivery::Delivery;
use crate::desk::Desk;
use crate::gateway::{Accounts, Gateway};
use crate::live::Hub;
use crate::store::Stores;
use crate::supervisor::Supervisor;
use crate::switchboard::Switchboard;
use crate::unix_socket::bind;

use ending::Ending;

/// What the answers are made of.
pub struct Admin {
    /// Where everything lies.
    pub home: Home,
    /// This installation's id.
    pub install: String,
    /// The databases.
    pub stores: Stores,
    /// The sessions.
    pub supervisor: Supervisor,
    /// Takes in what channels hand in.
    pub desk: Desk,
    /// The channels of the home.
    pub switchboard: Switchboard,
    /// Delivers replies.
    pub delivery: Delivery,
    /// The terminal channel.
    pub terminal: Terminal,
    /// What happens right now.
    pub hub: Hub,
    /// Serves model calls.
    pub gateway: Arc<Gateway>,
    /// The accounts that do.
    pub accounts: Accounts,
    /// The most containers at once.
    pub max_sessions: usize,
    /// The model of groups that name none.
    pub default_model: Option<String>,
    /// When the daemon started; none when a command hosts itself.
    pub since: Option<Instant>,
}

/// The open admin socket.
pub struct AdminServer {
    stop: CancellationToken,
    ending: Ending,
    /// Whether it answers who looks until the end: a daemon does, a command that hosts itself is waited for.
    stays: bool,
    server: JoinHandle<()>,
}

impl AdminServer {
    /// Opens the socket; it answers when this returns.
    pub fn start(admin: Admin, path: &Path) -> std::io::Result<Self> {
        let listener = bind(path)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let (ending, stays) = (Ending::default(), admin.since.is_some());
        // Made once: a router that is served as it is makes its routes anew for each connection.
        let app = routes(Arc::new(admin), &ending).into_make_service();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the admin socket closed by itself");
            }
        });
        Ok(Self { stop, ending, stays, server })
    }

    /// Takes nothing in any more; turns may go on for `grace`. Streams go on too: the sessions end them.
    pub fn stop_intake(&self, grace: Duration) {
        self.ending.begin(grace);
        if !self.stays {
            self.stop.cancel();
        }
    }

    /// Takes no more connections, and waits until the last answers were written, at most `deadline`.
    pub async fn finish(self, deadline: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(deadline, self.server).await.is_err() {
            tracing::debug!("clients were still connected at the end");
        }
    }
}

fn routes(admin: Arc<Admin>, ending: &Ending) -> Router {
    Router::new()
        .route("/v1/status", get(answers::status))
        .route("/v1/groups", get(answers::groups))
        .route("/v1/groups/{folder}", get(answers::group))
        .route("/v1/groups/{folder}", put(answers::put_group).delete(removal::delete_group))
        .route("/v1/sessions", get(answers::sessions))
        .route("/v1/sessions/{id}", get(detail::session))
        .route("/v1/sessions/{id}/diff", get(detail::diff))
        .route("/v1/sessions/{id}/follow", get(follow::follow))
        .route("/v1/sessions/{id}/stop", post(answers::stop_session))
        .route("/v1/sessions/{id}/logs", get(answers::logs))
        .route("/v1/accounts", get(accounts::list))
        .route("/v1/accounts/{name}", get(accounts::show).put(accounts::login).delete(accounts::remove))
        .route("/v1/accounts/{name}/pool", put(accounts::put_pool).delete(accounts::remove_pool))
        .route("/v1/accounts/{name}/use", post(accounts::choose))
        .route("/v1/accounts/{name}/logout", post(accounts::logout))
        .route("/v1/accounts/{name}/test", post(accounts::test))
        .route("/v1/vault", get(accounts::key))
        .route("/v1/vault/place", put(accounts::move_key))
        .route("/v1/vault/rotate", post(accounts::rotate))
        .route("/v1/usage", get(usage::usage))
        .route("/v1/groups/{folder}/activity", get(usage::activity))
        .route("/v1/wirings", get(wirings::list).put(wirings::put).patch(wirings::change).delete(wirings::remove))
        .route("/v1/channel-kinds", get(channels::kinds))
        .route("/v1/channels", get(channels::list))
        .route("/v1/channels/{name}", get(channels::show).put(channels::put).delete(channels::remove))
        .route("/v1/channels/{name}/test", post(channels::test))
        .route("/v1/hooks", get(programs::hooks))
        .route("/v1/keys", get(programs::keys))
        .route("/v1/channels/{channel}/hooks/{name}", put(programs::put_hook).delete(programs::remove_hook))
        .route("/v1/channels/{channel}/keys/{name}", post(programs::add_key).delete(programs::remove_key))
        .route("/v1/channels/{channel}/keys/{name}/revoke", post(programs::revoke_key))
        .route("/v1/people", get(people::list).post(people::add))
        .route("/v1/people/{id}", get(people::show).delete(people::remove))
        .route("/v1/people/{id}/role", put(people::set_role))
        .route("/v1/people/{id}/link", post(people::link))
        .route("/v1/pairings", post(people::pair))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", post(approvals::decide))
        .route("/v1/approvals/{folder}/{number}", post(approvals::answer))
        .route("/v1/drops", get(approvals::drops))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/{folder}", delete(dead_letters::let_all_go))
        .route("/v1/dead-letters/{folder}/retry", post(dead_letters::retry_all))
        .route("/v1/dead-letters/{folder}/{number}", get(dead_letters::show).delete(dead_letters::let_go))
        .route("/v1/dead-letters/{folder}/{number}/retry", post(dead_letters::retry))
        .route("/v1/chat", post(chat::chat))
        .route("/v1/files", post(files::upload))
        .route("/v1/backup", post(backup::backup))
        .route("/v1/restore", post(backup::restore))
        .layer(Extension(intake::Intake::default()))
        .layer(Extension(ending.clone()))
        .layer(axum::middleware::from_fn_with_state(ending.clone(), ending::gate))
        .layer(DefaultBodyLimit::max((MAX_MESSAGE_BYTES + MAX_SCHEMA_BYTES) * 6 + 4096))
        .with_state(admin)
}
