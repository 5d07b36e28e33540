//! The login with a code that is typed into a page elsewhere.

use std::time::Duration;

use tokio::time::Instant;

use super::{LoginError, PATIENCE};
use crate::vault::Tokens;
use crate::vault::issuer::{DeviceCode, Issuer, Poll};

/// A login that waits for its code.
#[derive(Debug)]
pub struct Device {
    issuer: Issuer,
    code: DeviceCode,
    ends: Instant,
}

impl Device {
    /// Asks the issuer for a code.
    pub async fn begin(issuer: &Issuer) -> Result<Self, LoginError> {
        let code = issuer.device_code().await.map_err(LoginError::Issuer)?;
        Ok(Self { issuer: issuer.clone(), code, ends: Instant::now() + PATIENCE })
    }

    /// The page to open, on any device.
    pub fn page(&self) -> &str {
        &self.code.page
    }

    /// What to type there. Whoever types it grants this login: it is for nobody but the person who began it.
    pub fn user_code(&self) -> &str {
        &self.code.user_code
    }

    /// How long the code is good.
    pub fn ends_in(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Waits until it was typed.
    pub async fn wait(mut self) -> Result<Tokens, LoginError> {
        loop {
            let pause = self.code.pause.min(self.ends_in());
            if pause.is_zero() {
                return Err(LoginError::TooLate);
            }
            tokio::time::sleep(pause).await;
            match self.issuer.poll(&mut self.code).await.map_err(LoginError::Issuer)? {
                Poll::Pending => {}
                Poll::Done(tokens) => return Ok(tokens),
                Poll::Expired => return Err(LoginError::TooLate),
            }
        }
    }
}
