//! The check of the vault's key: where it is, and whether it can be read.

use cofferdam_protocol::admin::VaultKey;

use super::Check;
use crate::cli::account;
use crate::cli::connect::{self, Mode};
use crate::config::home::Home;

const NAME: &str = "vault key";

pub(super) async fn key(home: &Home, configured: bool) -> Check {
    if !configured || !home.central_db().exists() {
        return Check::skipped(NAME, "needs a home with a valid configuration");
    }
    match connect::with(home, Mode::Query, account::key_state).await {
        Ok(key) => of(&key),
        Err(error) => Check::from_error(NAME, &error, "see the message"),
    }
}

fn of(key: &VaultKey) -> Check {
    if let Some(trouble) = &key.trouble {
        return Check::failed(NAME, trouble, key.hint.as_deref().unwrap_or("see the message"));
    }
    let Some(place) = key.place else {
        return Check::ok(NAME, "there is none; the first login makes it");
    };
    let at = account::key_place(place, &key.at);
    match key.wanted.filter(|wanted| *wanted != place) {
        _ if key.moving => Check::warning(
            NAME,
            format!("in {at}; a move was cut off, and the keyring may have it too"),
            "unlock the keyring, then `cofferdam account key move --to file`, or --to keyring",
        ),
        Some(wanted) => Check::warning(
            NAME,
            format!("in {at}, but the configuration says `{wanted}`"),
            format!("`cofferdam account key move --to {wanted}`, or change `vault_key` (COFFERDAM_VAULT_KEY)"),
        ),
        None => Check::ok(NAME, format!("in {at}")),
    }
}
