//! The accounts: the one of groups that name none, those that cannot be used, and those that nobody has made.

use cofferdam_protocol::admin::Account;
use cofferdam_protocol::ids::{AccountName, Folder};

use super::Check;
use crate::cli::account;
use crate::cli::connect::{self, Mode};
use crate::config::group::GroupConfig;
use crate::config::home::Home;
use crate::config::host::HostConfig;

/// The account of groups that name none, and those that cannot be used.
pub(super) async fn accounts(
    home: &Home,
    config: Option<&HostConfig>,
    groups: &[(Folder, GroupConfig)],
) -> Vec<Check> {
    const NAME: &str = "account";
    let Some(config) = config else {
        return vec![Check::skipped(NAME, "needs a valid configuration")];
    };
    if !home.central_db().exists() {
        let name = match (&config.account, &config.environment) {
            (Some(name), _) => name.as_str(),
            (None, Some(_)) => AccountName::ENVIRONMENT,
            (None, None) => AccountName::OFFLINE,
        };
        return vec![Check::ok(NAME, format!("{name}; nothing was started yet"))];
    }
    match connect::with(home, Mode::Query, account::all).await {
        Ok(accounts) => [of_accounts(NAME, &accounts), unknown(NAME, &accounts, groups)].concat(),
        Err(error) => vec![Check::from_error(NAME, &error, "see the message")],
    }
}

fn of_accounts(name: &'static str, accounts: &[Account]) -> Vec<Check> {
    let used = |account: &Account| account.default || !account.groups.is_empty();
    let mut checks: Vec<Check> = accounts
        .iter()
        .filter_map(|account| {
            let trouble = account.trouble.as_ref()?;
            let mend = format!("`cofferdam account show {}` has the details", account.name);
            Some(if used(account) {
                Check::failed(name, trouble, mend)
            } else {
                Check::warning(name, trouble, mend)
            })
        })
        .collect();
    match accounts.iter().find(|account| account.default) {
        Some(account) if account.trouble.is_none() => {
            let place = account.base_url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
            checks.insert(0, Check::ok(name, format!("{} ({}{place})", account.name, account.kind)));
        }
        Some(_) => {}
        None => checks.push(Check::failed(
            name,
            "the account that the host's configuration names is not there",
            "`cofferdam account list` shows those that are; name one in COFFERDAM_ACCOUNT or in cofferdam.toml",
        )),
    }
    checks
}

/// The accounts that groups name and that are not there.
fn unknown(name: &'static str, accounts: &[Account], groups: &[(Folder, GroupConfig)]) -> Vec<Check> {
    let is_unknown = |wanted: &&AccountName| accounts.iter().all(|account| account.name != **wanted);
    let of_group = |(folder, config): &(Folder, GroupConfig)| {
        let named = config.account.iter().map(|name| (name, "account"));
        let members = config.pool.members.iter().map(|name| (name, "pool.members"));
        let missing = named.chain(members).filter(|(wanted, _)| is_unknown(wanted));
        let check = |(wanted, key): (&AccountName, &str)| {
            let problem = format!("group {folder} names {wanted} (`{key}`), and there is no such account");
            let mend = format!(
                "`cofferdam account login {wanted}` makes it, or take it out of the group's container.json"
            );
            match key {
                "account" => Check::failed(name, problem, mend),
                _ => Check::warning(name, problem, mend),
            }
        };
        missing.map(check).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn an_account_that_nobody_has_made_is_a_groups_trouble() {
        let of =
            |text: &str| ("demo".parse().unwrap(), GroupConfig::parse(text, std::path::Path::new("x")).unwrap());
        assert!(unknown("account", &[], &[of("{}")]).is_empty());
        let both = of(r#"{"account": "nosuch", "pool": {"mode": "custom", "members": ["spare"]}}"#);
        let found = unknown("account", &[], &[both]);
        assert_eq!(
            found.iter().map(|check| check.outcome).collect::<Vec<_>>(),
            [Outcome::Failed, Outcome::Warning]
        );
        assert!(found[0].detail.contains("demo names nosuch"), "{found:?}");
    }
}
