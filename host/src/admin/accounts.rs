//! Accounts: who serves model calls. Credentials come in here, and none goes out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use cofferdam_protocol::admin::{
    Account, AccountChanged, AccountLimit, AccountLogin, AccountPool, AccountRemoved, AccountTested, Credential,
    ErrorKind, KeyMove, KeyMoved, KeyRotated, PassedOver, VaultKey,
};
use cofferdam_protocol::ids::{AccountName, Folder};

use super::Admin;
use super::answers::{Answer, load};
use super::error::Failed;
use crate::error_chain;
use crate::gateway::accounts::{AccountError, Given, Login, Shown};
use crate::gateway::rate_limits::{RateLimits, Window};
use crate::gateway::{GatewayError, ProbeError};
use crate::model::pool::Pool;
use crate::sandbox::mounts::credentials::CopiesOf;
use crate::store::rfc3339;
use crate::supervisor::Wiped;
use crate::vault::{Tokens, VaultError};

const LIST: &str = "`cofferdam account list` shows the accounts";

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Answer<Vec<Account>> {
    let groups = namers(&admin).await?;
    Ok(Json(admin.accounts.list().await.into_iter().map(|shown| view(shown, &groups)).collect()))
}

pub(super) async fn show(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Answer<Account> {
    Ok(Json(account(&admin, &parse(&name)?).await?))
}

pub(super) async fn login(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Json(login): Json<AccountLogin>,
) -> Answer<AccountChanged> {
    let name = parse(&name)?;
    let kind = login.kind;
    let given = given(login.credential)?;
    let login = Login { kind, given, base_url: login.base_url, model: login.model };
    let note = admin.accounts.login(&name, login).await?;
    tracing::info!(account = %name, %kind, "an account has a new credential");
    changed(&admin, &name, note).await
}

pub(super) async fn choose(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Answer<AccountChanged> {
    let name = parse(&name)?;
    let note = admin.accounts.choose_default(&name).await?;
    tracing::info!(account = %name, "chosen for groups that name none");
    changed(&admin, &name, note).await
}

pub(super) async fn put_pool(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Json(pool): Json<AccountPool>,
) -> Answer<AccountChanged> {
    let name = parse(&name)?;
    admin.accounts.put_pool(&name, pool.strategy, &pool.members).await?;
    tracing::info!(account = %name, strategy = %pool.strategy, members = pool.members.len(), "has a pool");
    changed(&admin, &name, None).await
}

pub(super) async fn remove_pool(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Answer<AccountChanged> {
    let name = parse(&name)?;
    admin.accounts.remove_pool(&name).await?;
    tracing::info!(account = %name, "has no pool any more");
    changed(&admin, &name, None).await
}

pub(super) async fn logout(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Answer<AccountChanged> {
    let name = parse(&name)?;
    let note = admin.accounts.logout(&name).await?;
    let note = with_copies(note, wipe(&admin, CopiesOf::Account(name.clone())).await);
    tracing::info!(account = %name, "logged out");
    changed(&admin, &name, note).await
}

pub(super) async fn remove(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Answer<AccountRemoved> {
    let name = parse(&name)?;
    let pools = admin.accounts.stands_in_for(&name);
    let note = admin.accounts.remove(&name).await?;
    let note = with_copies(note, wipe(&admin, CopiesOf::Account(name.clone())).await);
    tracing::info!(account = %name, "removed");
    let groups = namers(&admin).await?;
    let groups = groups.into_iter().filter(|(named, _)| *named == name).map(|(_, folder)| folder).collect();
    Ok(Json(AccountRemoved { removed: name, default: admin.accounts.default_name(), groups, pools, note }))
}

pub(super) async fn test(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Answer<AccountTested> {
    let name = parse(&name)?;
    let tested = admin.accounts.test(&name).await?;
    let millis = u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(AccountTested { account: name, models: tested.models, millis }))
}

pub(super) async fn rotate(State(admin): State<Arc<Admin>>) -> Answer<KeyRotated> {
    let rotated = admin.accounts.rotate().await?;
    Ok(Json(KeyRotated { key: rotated.key.to_string(), sealed: rotated.sealed, left: rotated.left }))
}

pub(super) async fn key(State(admin): State<Arc<Admin>>) -> Answer<VaultKey> {
    let state = admin.accounts.key_state().await?;
    Ok(Json(VaultKey {
        place: state.place,
        at: state.at,
        wanted: state.wanted,
        moving: state.moving,
        trouble: state.trouble.as_ref().map(|error| error_chain(error)),
        hint: state.trouble.as_ref().map(VaultError::hint),
    }))
}

pub(super) async fn move_key(State(admin): State<Arc<Admin>>, Json(wanted): Json<KeyMove>) -> Answer<KeyMoved> {
    let accounts = admin.accounts.clone();
    // Goes on when the client leaves.
    let work = tokio::spawn(async move { accounts.move_key(wanted.to).await });
    let moved = work
        .await
        .map_err(|_| Failed::new(ErrorKind::Internal, "the move broke off", "see the daemon's log"))??;
    let note = moved.left.as_ref().map(|error| {
        let (why, hint) = (error_chain(error), error.hint());
        if let VaultError::OtherKeys { .. } | VaultError::NoKeyEntry(_) = error {
            return format!("{why}: {hint}");
        }
        format!("the keyring may still have the key, and the next start tries to remove it ({why}): {hint}")
    });
    Ok(Json(KeyMoved { place: wanted.to, moved: moved.moved, at: moved.at, note }))
}

/// Takes logins out of the containers that have a copy. Goes on when the client leaves.
pub(super) async fn wipe(admin: &Arc<Admin>, of: CopiesOf) -> Wiped {
    let admin = admin.clone();
    let work = tokio::spawn(async move { admin.supervisor.wipe_copies(of).await });
    work.await.unwrap_or(Wiped { wiped: 0, left: 1 })
}

fn with_copies(note: Option<String>, wiped: Wiped) -> Option<String> {
    let copies = match wiped {
        Wiped { left: 0, .. } => None,
        Wiped { left, .. } => Some(format!(
            "{left} sessions may still have a copy of the login: the daemon's log has them, and `cofferdam session stop` ends them"
        )),
    };
    match (note, copies) {
        (Some(note), Some(copies)) => Some(format!("{note}; {copies}")),
        (note, copies) => note.or(copies),
    }
}

async fn changed(admin: &Admin, name: &AccountName, note: Option<String>) -> Answer<AccountChanged> {
    Ok(Json(AccountChanged { account: account(admin, name).await?, note }))
}

async fn account(admin: &Admin, name: &AccountName) -> Result<Account, Failed> {
    let groups = namers(admin).await?;
    let found = admin.accounts.list().await.into_iter().find(|shown| shown.name == *name);
    found.map(|shown| view(shown, &groups)).ok_or_else(|| AccountError::Unknown(name.clone()).into())
}

fn view(shown: Shown, groups: &[(AccountName, Folder)]) -> Account {
    let groups = groups.iter().filter(|(name, _)| *name == shown.name).map(|(_, folder)| folder.clone()).collect();
    let (times, name) = (shown.times, shown.name.clone());
    Account {
        built_in: shown.name.is_built_in(),
        name: shown.name,
        kind: shown.kind,
        default: shown.default,
        base_url: shown.base_url,
        model: shown.model,
        email: shown.login.email,
        plan: shown.login.plan,
        expires_at: shown.login.expires_at.map(rfc3339),
        shared: shown.login.auth_json,
        trouble: shown.trouble,
        pool: shown.pool.map(|pool| AccountPool { strategy: pool.strategy, members: members(&pool, &name) }),
        limits: limits(shown.limits.as_ref()),
        passed_over: shown.cooling.map(|(until, why)| PassedOver { until: rfc3339(until), why }),
        groups,
        created_at: times.map(|(created, _, _)| rfc3339(created)),
        changed_at: times.map(|(_, changed, _)| rfc3339(changed)),
        used_at: times.and_then(|(_, _, used)| used).map(rfc3339),
    }
}

/// A pool's members as they are written: without the owner where it is the first.
fn members(pool: &Pool, owner: &AccountName) -> Vec<AccountName> {
    let first = usize::from(pool.accounts.first() == Some(owner));
    pool.accounts[first..].to_vec()
}

/// Allowances as they are shown.
pub(super) fn limits(limits: Option<&RateLimits>) -> Vec<AccountLimit> {
    let windows = limits.map_or(&[][..], |limits| &limits.windows);
    let shown = |window: &Window| AccountLimit {
        name: window.name.to_owned(),
        used_percent: window.used_percent,
        minutes: window.minutes,
        resets_at: window.resets_at.map(rfc3339),
    };
    windows.iter().map(shown).collect()
}

/// The groups whose file names an account, with that.
async fn namers(admin: &Admin) -> Result<Vec<(AccountName, Folder)>, Failed> {
    let mut namers = Vec::new();
    for row in admin.stores.central().groups().await? {
        // One with errors says nothing.
        if let Ok(Some(name)) = load(admin, &row.folder).await.map(|loaded| loaded.config.account) {
            namers.push((name, row.folder));
        }
    }
    Ok(namers)
}

fn given(credential: Credential) -> Result<Given, Failed> {
    Ok(match credential {
        Credential::Key(key) => Given::Key(key.0.into()),
        Credential::Shared(path) => Given::Shared(path.into()),
        Credential::AuthJson(text) => Given::Tokens(Tokens::from_auth_json(&text.0).map_err(|error| {
            Failed::new(ErrorKind::Usage, format!("it is no ChatGPT login: {error}"), "log in again")
        })?),
    })
}

fn parse(text: &str) -> Result<AccountName, Failed> {
    text.parse().map_err(|error| Failed::new(ErrorKind::Usage, format!("{error}"), LIST))
}

impl From<AccountError> for Failed {
    fn from(error: AccountError) -> Self {
        let message = error_chain(&error);
        let (kind, hint) = match error {
            AccountError::Store(error) => return error.into(),
            AccountError::BuiltIn(_) => (ErrorKind::Usage, "choose another name".to_owned()),
            AccountError::Unknown(name) if name == AccountName::environment() => (
                ErrorKind::NotFound,
                "it is there when the daemon starts with OPENAI_API_KEY or OPENAI_BASE_URL in its configuration"
                    .to_owned(),
            ),
            AccountError::Unknown(_) => (ErrorKind::NotFound, LIST.to_owned()),
            AccountError::OtherKind { name, kind } => (
                ErrorKind::Conflict,
                format!(
                    "choose another name, or log in with --kind {kind}, or `cofferdam account remove {name}` first"
                ),
            ),
            AccountError::NoLogin(kind) => {
                (ErrorKind::Usage, format!("see `cofferdam account login --help` for kind {kind}"))
            }
            AccountError::Same(name) => (
                ErrorKind::Conflict,
                format!("use that one, log it in again, or `cofferdam account remove {name}` first"),
            ),
            AccountError::Shared(_) => {
                (ErrorKind::Account, "log in to Codex on the host first: `codex login`".to_owned())
            }
            AccountError::NoBaseUrl => {
                (ErrorKind::Usage, "name it with --base-url, such as http://127.0.0.1:8000/v1".to_owned())
            }
            AccountError::NoKey => (
                ErrorKind::Usage,
                "nothing came: paste the key at the prompt, name a file with it, or pipe it in with `--key-file -`"
                    .to_owned(),
            ),
            AccountError::Gateway(GatewayError::Client(_)) => {
                (ErrorKind::Internal, "see the daemon's log".to_owned())
            }
            AccountError::Gateway(_) => (ErrorKind::Usage, "nothing was changed".to_owned()),
            AccountError::Named(_) => (
                ErrorKind::Conflict,
                "take it out of COFFERDAM_ACCOUNT, or of `account` in cofferdam.toml, and restart the daemon"
                    .to_owned(),
            ),
            AccountError::Pool(_) | AccountError::OneTwice(..) => {
                (ErrorKind::Usage, "nothing was changed".to_owned())
            }
            AccountError::IsMember { of, .. } => {
                (ErrorKind::Conflict, format!("`cofferdam account pool clear {of}` frees it"))
            }
            AccountError::OwnsPool(name) => {
                (ErrorKind::Conflict, format!("`cofferdam account pool clear {name}` takes that pool away"))
            }
            AccountError::NoPool(name) => {
                (ErrorKind::NotFound, format!("`cofferdam account pool set {name} MEMBER…` gives it one"))
            }
            AccountError::Unusable(_) => (ErrorKind::Account, LIST.to_owned()),
            AccountError::Probe { name, error } => (ErrorKind::Account, mend(&name, &error)),
            AccountError::Vault(error) => (ErrorKind::Account, error.hint()),
        };
        Self::new(kind, message, hint)
    }
}

fn mend(name: &AccountName, error: &ProbeError) -> String {
    match error {
        ProbeError::Refused(_) if *name == AccountName::environment() => {
            "check OPENAI_API_KEY in the host's configuration and restart the daemon".to_owned()
        }
        ProbeError::Refused(_) => format!("`cofferdam account login {name}` gives it another credential"),
        ProbeError::NoLogin(_) => format!("`cofferdam account login {name}` logs it in again"),
        ProbeError::Unreachable(_) => {
            format!("check the host's network and the address that `cofferdam account show {name}` has")
        }
        ProbeError::Odd(_) => "the vendor's status page may say why; try again later".to_owned(),
    }
}
