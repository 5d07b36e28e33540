CREATE TABLE account_members (
    owner    TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    member   TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    PRIMARY KEY (owner, position),
    UNIQUE (owner, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_members_member ON account_members (member);
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
    used_at      INTEGER, strategy TEXT
    CHECK (strategy IN ('primary_first', 'round_robin', 'priority_order', 'quota_aware')),
    CHECK (secret IS NOT NULL OR auth_json IS NOT NULL OR login_needed IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX accounts_account_id ON accounts (account_id) WHERE account_id IS NOT NULL;
CREATE TABLE busy_groups (
    folder TEXT PRIMARY KEY REFERENCES groups (folder) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE drops (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    reason  TEXT NOT NULL,
    count   INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (channel, chat_id, reason)
) STRICT, WITHOUT ROWID;
CREATE TABLE groups (
    folder        TEXT PRIMARY KEY,
    config        TEXT NOT NULL,
    config_hash   TEXT NOT NULL,
    registered_at INTEGER NOT NULL
, set_aside TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE wirings (
    channel      TEXT NOT NULL,
    chat_id      TEXT NOT NULL,
    folder       TEXT NOT NULL REFERENCES groups (folder) ON DELETE CASCADE,
    session_mode TEXT NOT NULL CHECK (session_mode IN ('shared', 'per-thread', 'group')), progress INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (channel, chat_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX wirings_folder ON wirings (folder);
