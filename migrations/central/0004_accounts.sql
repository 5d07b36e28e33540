-- Accounts: credentials of model providers. Which one serves groups that name none is `account` in meta.
CREATE TABLE accounts (
    name         TEXT PRIMARY KEY,
    kind         TEXT NOT NULL CHECK (kind IN ('chatgpt', 'openai', 'compatible')),
    base_url     TEXT,
    model        TEXT,
    -- Sealed with the vault's key, which is in no database. NULL when nothing is kept here.
    secret       BLOB,
    -- Codex's own file, for a login that is shared with the host's Codex CLI.
    auth_json    TEXT,
    -- Why it needs a login before it can be used, in words.
    login_needed TEXT,
    -- Of a ChatGPT login. One real account is here once.
    account_id   TEXT,
    email        TEXT,
    plan         TEXT,
    expires_at   INTEGER,
    -- +1 whenever it serves calls in another way than before.
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL,
    used_at      INTEGER,
    CHECK (secret IS NOT NULL OR auth_json IS NOT NULL OR login_needed IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX accounts_account_id ON accounts (account_id) WHERE account_id IS NOT NULL;
