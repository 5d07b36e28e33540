//! What a session's container has of its account's credential, from its start to its end.

use std::sync::Arc;

use cofferdam_protocol::ids::{Folder, SessionId};
use futures_util::future::join_all;

use super::launch::{LaunchError, load_config};
use super::{Inner, Supervisor};
use crate::config::credentials::CredentialMode;
use crate::config::group::GroupConfig;
use crate::error_chain;
use crate::gateway::Caller;
use crate::gateway::login::NoLogin;
use crate::sandbox::mounts::credentials::{self as kept, Copied, CopiesOf, Credentials, Handle};
use crate::store::StoreError;

/// Copies that were to be wiped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wiped {
    /// That are.
    pub wiped: usize,
    /// That could not be, or whose container could not be ended.
    pub left: usize,
}

/// What a start of a session puts into its container. For whoever keeps wiping out meanwhile (`copying`).
pub(super) async fn issue(
    inner: &Arc<Inner>,
    folder: &Folder,
    session: &SessionId,
    config: &GroupConfig,
) -> Result<Credentials, LaunchError> {
    // The file may have been changed since the start began, and its copies wiped.
    let is_sealed = |config: &GroupConfig| config.credentials.mode == CredentialMode::Sealed;
    if is_sealed(config) || is_sealed(&load_config(inner, folder).await?.config) {
        return Ok(Credentials::sealed(session));
    }
    let caller = Caller { group: folder.clone(), session: session.clone(), serving: config.serving() };
    let login = inner.parts.gateway.login_of(&caller, false).await.map_err(|error| match error {
        NoLogin::Ended(why) => LaunchError::Config(why),
        error @ NoLogin::Later(_) => LaunchError::Login(error),
    })?;
    let handle = Handle::new(session);
    let auth_json = login.auth_json(handle.text());
    Ok(Credentials { copy: Some(Copied { account: login.account, auth_json, base_url: login.base_url }), handle })
}

impl Supervisor {
    /// Takes logins out of the containers that have a copy, and out of their files: the containers are told to end. For
    /// whoever has made sure that no more copies are given out.
    pub async fn wipe_copies(&self, of: CopiesOf) -> Wiped {
        let home = self.inner.parts.home.clone();
        let found = {
            // No start has the login in its hand and the file still to write.
            let _no_start = self.inner.copying.write().await;
            blocking(move || kept::copies(&home, &of)).await
        };
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::error!(error = %error_chain(&error), "which sessions have a copy of a login could not be read");
                return Wiped { left: 1, ..Wiped::default() };
            }
            Err(_) => return Wiped { left: 1, ..Wiped::default() },
        };
        let ends = join_all(found.iter().map(|(_, session)| self.stop(session))).await;
        let mut done = Wiped::default();
        for ((folder, session), ended) in found.iter().zip(ends) {
            let is_wiped = self.inner.wipe_copy(folder, session).await;
            match ended {
                Ok(()) if is_wiped => done.wiped += 1,
                Ok(()) => done.left += 1,
                Err(error) => {
                    tracing::error!(group = %folder, %session, error = %error_chain(&error), "its container may still have a copy of the login");
                    done.left += 1;
                }
            }
        }
        done
    }
}

impl Inner {
    /// Replaces a session's copy of a login, if it has one, by a placeholder: also when its container is gone, as a copy has
    /// nothing to wait for on the disk. False when that failed.
    pub(super) async fn wipe_copy(&self, folder: &Folder, session: &SessionId) -> bool {
        let (home, of, whose) = (self.parts.home.clone(), folder.clone(), session.clone());
        match blocking(move || kept::wipe_copy(&home, &of, &whose)).await {
            Ok(Ok(wiped)) => {
                if wiped {
                    tracing::info!(group = %folder, %session, "its copy of the login was wiped");
                }
                true
            }
            Ok(Err(error)) => {
                tracing::error!(group = %folder, %session, error = %error_chain(&error), "its copy of the login was not wiped");
                false
            }
            Err(_) => false,
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)
}
