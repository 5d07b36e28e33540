//! The first step of a login in a browser: the page that the person is sent to, and what must come back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{CLIENT_ID, Issuer, IssuerError, form, unguessable};
use crate::vault::Tokens;

/// What a login is asked for: who it is, and a refresh token. Codex asks for its connectors too, which we have no use for.
const SCOPE: &str = "openid profile email offline_access";
/// Who asks; the issuer shows its page for Codex to what it knows.
const ORIGINATOR: &str = "codex_cli_rs";

/// The secret that only who began a login has (RFC 7636), and what the issuer is shown of it.
#[derive(Debug)]
pub struct Pkce {
    verifier: SecretString,
}

impl Pkce {
    fn new() -> Self {
        Self { verifier: unguessable() }
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose_secret()))
    }
}

/// Where the issuer sends the browser back to. It knows two ports, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    port: u16,
}

impl Redirect {
    /// The path of the callback.
    pub const PATH: &str = "/auth/callback";
    /// The ports that the vendor's issuer takes, in the order in which they are tried.
    pub const PORTS: [u16; 2] = [1455, 1457];

    /// To a port of this machine.
    pub fn to_port(port: u16) -> Self {
        Self { port }
    }

    /// Its port.
    pub fn port(self) -> u16 {
        self.port
    }

    /// The address, as the issuer has it in its list.
    pub fn uri(self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, Self::PATH)
    }
}

impl Default for Redirect {
    fn default() -> Self {
        Self::to_port(Self::PORTS[0])
    }
}

/// A login that was begun.
#[derive(Debug)]
pub struct Authorization {
    url: String,
    state: SecretString,
    pkce: Pkce,
    redirect: Redirect,
}

impl Issuer {
    /// Begins a login that ends at `redirect`.
    pub fn authorize(&self, redirect: Redirect) -> Authorization {
        let (pkce, state) = (Pkce::new(), unguessable());
        let query = form(&[
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", &redirect.uri()),
            ("scope", SCOPE),
            ("code_challenge", &pkce.challenge()),
            ("code_challenge_method", "S256"),
            ("id_token_add_organizations", "true"),
            ("codex_cli_simplified_flow", "true"),
            ("state", state.expose_secret()),
            ("originator", ORIGINATOR),
        ]);
        let url = format!("{}?{query}", self.address.at("/oauth/authorize"));
        Authorization { url, state, pkce, redirect }
    }
}

impl Authorization {
    /// The page that the person opens. It has the state, which is of use to nobody without the verifier.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether this is the state of this login. Hashes are compared, so the time tells nothing of it.
    pub fn has_state(&self, given: &str) -> bool {
        Sha256::digest(given) == Sha256::digest(self.state.expose_secret())
    }

    /// Buys the tokens with the code that came back.
    pub async fn finish(&self, issuer: &Issuer, code: &SecretString) -> Result<Tokens, IssuerError> {
        issuer.exchange(code, &self.pkce.verifier, &self.redirect.uri()).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use reqwest::Url;

    use super::super::Address;
    use super::*;
    use crate::trust::Trust;

    #[test]
    fn the_page_is_the_vendors_with_what_it_wants_to_know() {
        let issuer = Issuer::new(Address { loopback_port: None }, &Trust::MACHINE).unwrap();
        let login = issuer.authorize(Redirect::default());
        let url = Url::parse(login.url()).unwrap();
        assert_eq!(url.origin().ascii_serialization(), "https://auth.openai.com");
        assert_eq!(url.path(), "/oauth/authorize");
        let query: HashMap<_, _> = url.query_pairs().collect();
        assert_eq!(query["redirect_uri"], "http://127.0.0.1:1455/auth/callback");
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(login.has_state(&query["state"]) && !login.has_state("") && !login.has_state("x"));
        assert!(!url.as_str().contains(login.pkce.verifier.expose_secret()));
    }

    #[test]
    fn the_challenge_is_the_one_of_the_standard() {
        // RFC 7636, appendix B.
        let pkce = Pkce { verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into() };
        assert_eq!(pkce.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn each_login_has_secrets_of_its_own_that_nothing_shows() {
        let (first, second) = (Pkce::new(), Pkce::new());
        assert_ne!(first.verifier.expose_secret(), second.verifier.expose_secret());
        assert_eq!(first.verifier.expose_secret().len(), 43);
        assert!(!format!("{first:?}").contains(first.verifier.expose_secret()));
    }
}
