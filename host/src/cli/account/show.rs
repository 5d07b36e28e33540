//! Accounts in words.

use cofferdam_protocol::admin::{Account, AccountLimit, AccountPool, AccountRemoved, AccountTested};
use cofferdam_protocol::ids::{AccountName, Folder};
use jiff::Timestamp;

use crate::cli::table::{Table, ago, pairs, until};
use crate::cli::terminal::clean_line;

pub(super) fn table(accounts: &[Account], now: Timestamp) -> String {
    let mut table = Table::new(["ACCOUNT", "KIND", "DEFAULT", "MODEL", "USED", "ENDPOINT", "STATE"]);
    for account in accounts {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            account.name.to_string(),
            account.kind.to_string(),
            if account.default { "yes" } else { "" }.to_owned(),
            or_none(&account.model),
            account.used_at.as_ref().map_or_else(|| "-".to_owned(), |at| ago(at, now)),
            or_none(&account.base_url),
            state(account, now),
        ]);
    }
    table.render()
}

pub(super) fn facts(account: &Account, now: Timestamp) -> String {
    let time = |at: &Option<String>| at.as_ref().map(|at| format!("{} ({at})", ago(at, now)));
    let origin = match account.name.as_str() {
        "offline" => "built in: the scripted model inside the host",
        "environment" => "built in: the key of the host's configuration",
        _ => "the vault",
    };
    let origin = match &account.shared {
        Some(path) => format!("{path}, shared with the host's own Codex"),
        None => origin.to_owned(),
    };
    pairs(&[
        ("account", Some(account.name.to_string())),
        ("kind", Some(account.kind.to_string())),
        ("kept in", Some(origin)),
        ("state", Some(state(account, now))),
        ("default", Some(if account.default { "yes" } else { "no" }.to_owned())),
        ("endpoint", account.base_url.clone()),
        ("model", account.model.clone()),
        ("e-mail", account.email.clone()),
        ("plan", account.plan.clone()),
        ("token", account.expires_at.as_ref().map(|at| format!("renewed before it ends, {}", until(at, now)))),
        ("limits", (!account.limits.is_empty()).then(|| limits(&account.limits, now))),
        ("pool", account.pool.as_ref().map(pool)),
        ("groups", (!account.groups.is_empty()).then(|| names(&account.groups))),
        ("made", time(&account.created_at)),
        ("changed", time(&account.changed_at)),
        ("used", time(&account.used_at)),
    ])
}

/// Whether it serves.
fn state(account: &Account, now: Timestamp) -> String {
    match (&account.trouble, &account.passed_over) {
        (Some(trouble), _) => trouble.clone(),
        (None, Some(over)) => format!("passed over: {}; asked again {}", over.why, until(&over.until, now)),
        (None, None) => "ready".to_owned(),
    }
}

pub(super) fn pool(pool: &AccountPool) -> String {
    let members: Vec<&str> = pool.members.iter().map(AccountName::as_str).collect();
    format!("{} with {}", pool.strategy, members.join(", "))
}

/// Allowances in one line.
pub(in crate::cli) fn limits(limits: &[AccountLimit], now: Timestamp) -> String {
    let one = |limit: &AccountLimit| {
        let reset = limit.resets_at.as_ref().map(|at| format!(", resets {}", until(at, now)));
        format!("{} {:.0} % used{}", limit.name, limit.used_percent, reset.unwrap_or_default())
    };
    limits.iter().map(one).collect::<Vec<_>>().join("; ")
}

pub(super) fn tested(tested: &AccountTested) -> String {
    let (name, millis) = (&tested.account, tested.millis);
    match tested.models {
        Some(1) => format!("{name} works: 1 model ({millis} ms)"),
        Some(models) => format!("{name} works: {models} models ({millis} ms)"),
        None => format!(
            "{name} answers ({millis} ms), but has no list of models: whether it takes the key shows with the first message"
        ),
    }
}

pub(super) fn removed(removed: &AccountRemoved) -> String {
    let mut text =
        format!("{} is removed; {} serves groups that name no account", removed.removed, removed.default);
    if !removed.groups.is_empty() {
        text += &format!(
            "\nnote: `account` in container.json of {} still names it: their model calls fail until that is changed",
            names(&removed.groups)
        );
    }
    if !removed.pools.is_empty() {
        let owners: Vec<&str> = removed.pools.iter().map(AccountName::as_str).collect();
        text += &format!("\nnote: it stands in for {} no more", owners.join(", "));
    }
    if let Some(note) = &removed.note {
        text += &format!("\nnote: {}", clean_line(note, 400));
    }
    text
}

fn names(groups: &[Folder]) -> String {
    groups.iter().map(Folder::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use cofferdam_protocol::admin::{AccountKind, PoolStrategy};

    use super::*;

    fn account(name: &str, kind: AccountKind, trouble: Option<&str>) -> Account {
        let name: cofferdam_protocol::ids::AccountName = name.parse().unwrap();
        let vault = !name.is_built_in();
        let time = |at: &str| vault.then(|| at.to_owned());
        Account {
            built_in: !vault,
            default: name.as_str() == "work",
            kind,
            base_url: vault.then(|| "https://api.openai.com/v1".to_owned()),
            model: None,
            email: None,
            plan: None,
            expires_at: None,
            shared: None,
            trouble: trouble.map(str::to_owned),
            pool: vault.then(|| AccountPool {
                strategy: PoolStrategy::QuotaAware,
                members: vec!["home".parse().unwrap(), "spare".parse().unwrap()],
            }),
            limits: vec![AccountLimit {
                name: "primary".into(),
                used_percent: 99.6,
                minutes: Some(300),
                resets_at: Some("2026-01-01T03:00:00Z".into()),
            }],
            passed_over: None,
            groups: if vault { vec!["demo".parse().unwrap(), "ops".parse().unwrap()] } else { Vec::new() },
            created_at: time("2026-01-01T00:00:00Z"),
            changed_at: time("2026-01-01T01:00:00Z"),
            used_at: None,
            name,
        }
    }

    #[test]
    fn accounts_are_listed_and_shown_with_what_is_wrong() {
        let now = "2026-01-01T02:00:00Z".parse().unwrap();
        let all = [
            account("offline", AccountKind::Offline, None),
            account("work", AccountKind::OpenAi, Some("it is logged out")),
        ];
        insta::assert_snapshot!(table(&all, now), @r"
        ACCOUNT  KIND     DEFAULT  MODEL  USED  ENDPOINT                   STATE
        offline  offline           -      -     -                          ready
        work     openai   yes      -      -     https://api.openai.com/v1  it is logged out
        ");
        insta::assert_snapshot!(facts(&all[1], now), @r"
        account:  work
        kind:     openai
        kept in:  the vault
        state:    it is logged out
        default:  yes
        endpoint: https://api.openai.com/v1
        limits:   primary 100 % used, resets in 1 h
        pool:     quota_aware with home, spare
        groups:   demo, ops
        made:     2 h ago (2026-01-01T00:00:00Z)
        changed:  1 h ago (2026-01-01T01:00:00Z)
        ");
    }

    #[test]
    fn what_still_names_a_removed_account_is_told() {
        let gone = AccountRemoved {
            removed: "work".parse().unwrap(),
            default: "offline".parse().unwrap(),
            pools: vec!["shared".parse().unwrap()],
            groups: vec!["demo".parse().unwrap()],
            note: None,
        };
        insta::assert_snapshot!(removed(&gone), @r"
        work is removed; offline serves groups that name no account
        note: `account` in container.json of demo still names it: their model calls fail until that is changed
        note: it stands in for shared no more
        ");
    }
}
