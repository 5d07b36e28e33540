//! The ways to a login: a browser that comes back to this machine, an address or code that a person pastes, and a code that they
//! type into a page elsewhere. Nothing here talks to the person: it says what to show.

mod browser;
mod callback;
mod device;
mod pasted;
mod port;

use std::time::Duration;

pub use self::browser::{Browser, Received};
pub use self::device::Device;
pub use self::port::Holder;
use super::issuer::{Code, IssuerError};

/// How long a login waits for its person; a device code is good for as long, as the issuer's page says.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Why there is no login.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginError {
    /// The issuer did not do its part.
    #[error("the issuer did not complete the login")]
    Issuer(#[source] IssuerError),
    /// The issuer sent the browser back with an error.
    #[error("the login was not granted ({0})")]
    NotGranted(Code),
    /// What came back belongs to another login than the one that was begun.
    #[error("that is the answer to another login: begin again, and use the newest page only")]
    OtherLogin,
    /// What was pasted is neither the address nor the code.
    #[error("that is neither the address that the browser ended at nor the code in it")]
    NotACode,
    /// Nobody came in time.
    #[error("nobody completed the login in time")]
    TooLate,
}
