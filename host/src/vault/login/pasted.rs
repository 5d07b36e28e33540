//! What a person pastes after a login in a browser that could not come back: the address it ended at, or the code in it.

use reqwest::Url;
use secrecy::SecretString;

use super::LoginError;
use crate::vault::issuer::{Authorization, Code, Redirect};

/// Longest text that is looked at, in bytes.
const MAX: usize = 8 * 1024;

/// The code in a callback's query, checked against the login that was begun.
pub(super) fn of_query(login: &Authorization, query: &str) -> Result<SecretString, LoginError> {
    let mut url = Url::parse("http://127.0.0.1/").map_err(|_| LoginError::NotACode)?;
    url.set_query(Some(query));
    let only = |name: &str| {
        let mut values = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none()).filter(|value| !value.is_empty())
    };
    if !only("state").is_some_and(|state| login.has_state(&state)) {
        return Err(LoginError::OtherLogin);
    }
    if let Some(error) = only("error") {
        return Err(LoginError::NotGranted(Code::new(Some(&error))));
    }
    only("code").filter(|code| is_code(code)).map(|code| code.as_ref().into()).ok_or(LoginError::NotACode)
}

/// The code in what a person pasted. A bare code has no state; that it belongs to this login is the verifier's to show.
pub(super) fn of_text(login: &Authorization, text: &str) -> Result<SecretString, LoginError> {
    let text = text.trim();
    if text.len() > MAX {
        return Err(LoginError::NotACode);
    }
    if is_code(text) {
        return Ok(text.into());
    }
    let url = Url::parse(text).map_err(|_| LoginError::NotACode)?;
    let here = url.host_str().is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host));
    if url.scheme() != "http" || !here || url.path() != Redirect::PATH {
        return Err(LoginError::NotACode);
    }
    of_query(login, url.query().unwrap_or_default())
}

/// Codes are of the characters that an address shows as they are.
fn is_code(text: &str) -> bool {
    (4..=2048).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::trust::Trust;
    use crate::vault::issuer::{Address, Issuer};

    fn login() -> (Authorization, String) {
        let login = Issuer::new(Address::on_loopback(1), &Trust::MACHINE).unwrap().authorize(Redirect::default());
        let url = Url::parse(login.url()).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        (login, state)
    }

    #[test]
    fn an_address_and_a_code_are_both_taken() {
        let (login, state) = login();
        let query = format!("code=ac_1.x-y&state={state}&scope=openid+profile");
        for text in [
            format!("http://127.0.0.1:1455/auth/callback?{query}"),
            format!("  http://localhost:1457/auth/callback?{query}#x\n"),
            "ac_1.x-y".to_owned(),
        ] {
            assert_eq!(of_text(&login, &text).unwrap().expose_secret(), "ac_1.x-y", "{text}");
        }
    }

    #[test]
    fn what_is_not_of_this_login_is_refused() {
        let (login, state) = login();
        let other = |query: &str| of_query(&login, query);
        assert!(matches!(other("code=ac_1"), Err(LoginError::OtherLogin)));
        assert!(matches!(other("code=ac_1&state=x"), Err(LoginError::OtherLogin)));
        assert!(matches!(other(&format!("code=ac_1&state={state}&state=x")), Err(LoginError::OtherLogin)));
        assert!(matches!(other(&format!("code=ac_1&code=ac_2&state={state}")), Err(LoginError::NotACode)));
        assert!(matches!(other(&format!("state={state}")), Err(LoginError::NotACode)));
        assert!(matches!(other("error=access_denied&state=x"), Err(LoginError::OtherLogin)));
        let denied = other(&format!("error=access_denied&error_description=no&state={state}")).unwrap_err();
        assert_eq!(denied.to_string(), "the login was not granted (access_denied)");
        for text in
            ["", "http://evil.example/auth/callback?code=ac_1", "http://127.0.0.1:1455/x?code=ac_1", "a b c d e"]
        {
            assert!(matches!(of_text(&login, text), Err(LoginError::NotACode)), "{text}");
        }
    }
}
