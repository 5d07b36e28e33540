//! Every error as a person reads it, and as a script does.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cofferdam_protocol::admin::{ErrorBody, ErrorKind};

use crate::error_chain;
use crate::store::{Fault, StoreError};

/// An answer that says what went wrong.
#[derive(Debug)]
pub(super) struct Failed(pub(super) ErrorBody);

impl Failed {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(ErrorBody { kind, message: message.into(), hint: Some(hint.into()) })
    }

    pub(super) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message, hint)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error_chain(&error), "the store refused");
        let message = error_chain(&error);
        match error {
            StoreError::NoSession(_) => Self::not_found(message, "`cofferdam session list` shows the sessions"),
            StoreError::NoGroup(folder) => super::answers::no_group(&folder),
            StoreError::Held { .. } => {
                Self::new(ErrorKind::Conflict, message, "nothing was accepted; try again when it is done")
            }
            StoreError::Copied(_) => {
                Self::new(ErrorKind::Conflict, message, "nothing was changed; try again when it is done")
            }
            error => match error.fault() {
                Fault::Disk => Self::new(
                    ErrorKind::Disk,
                    message,
                    "nothing was accepted; see that the disk is not full and the home can be written",
                ),
                Fault::Damaged => Self::new(ErrorKind::Database, message, mend(&error)),
                Fault::Newer => Self::new(
                    ErrorKind::Database,
                    message,
                    "run that version, or restore a backup of this one's time",
                ),
                Fault::Other => Self::internal(message),
            },
        }
    }
}

/// How a damaged database is mended.
fn mend(error: &StoreError) -> String {
    let group = match error {
        StoreError::SetAside { folder, .. } => folder.as_str(),
        _ => "GROUP",
    };
    format!(
        "`cofferdam restore {group}` saves what can be read, `cofferdam restore {group} --from DIR` takes a backup; \
         the damaged file stays"
    )
}

impl Failed {
    fn internal(message: String) -> Self {
        Self::new(ErrorKind::Internal, message, "see the daemon's log")
    }
}

impl From<crate::config::error::ConfigError> for Failed {
    fn from(error: crate::config::error::ConfigError) -> Self {
        Self(ErrorBody { kind: ErrorKind::Config, message: error.message(), hint: error.hint })
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Usage | ErrorKind::Config => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Daemon => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Account => StatusCode::FAILED_DEPENDENCY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}
