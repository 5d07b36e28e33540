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
CREATE TABLE answered (
    channel     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    platform_id TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (channel, chat_id, platform_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX answered_at ON answered (at);
CREATE TABLE "api_keys" (
    channel    TEXT NOT NULL REFERENCES "channels" (name) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    chat_id    TEXT NOT NULL DEFAULT '',
    -- SHA-256; the key itself is nowhere.
    hash       BLOB NOT NULL UNIQUE,
    -- What the API calls the group.
    model      TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    used_at    INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (channel, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE "api_threads" (
    channel     TEXT NOT NULL REFERENCES "channels" (name) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    thread      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (channel, key, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX api_threads_at ON api_threads (at);
CREATE INDEX api_threads_key ON api_threads (channel, key, at);
CREATE TABLE approvals (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL CHECK (kind IN ('wiring', 'sender')),
    -- What it is about; one of each waits at a time.
    channel     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    user_id     TEXT,
    folder      TEXT REFERENCES groups (folder) ON DELETE CASCADE,
    words       TEXT NOT NULL,
    -- The answers that it takes: a JSON array of {word, label}.
    choices     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'approved', 'denied', 'expired')),
    choice      TEXT,
    decided_by  TEXT,
    decided_at  INTEGER,
    asked_at    INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX approvals_due ON approvals (expires_at) WHERE state = 'open';
CREATE UNIQUE INDEX approvals_open ON approvals (kind, channel, chat_id, coalesce(user_id, ''), coalesce(folder, ''))
    WHERE state = 'open';
CREATE TABLE busy_groups (
    folder TEXT PRIMARY KEY REFERENCES groups (folder) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE channel_identities (
    channel  TEXT PRIMARY KEY,
    identity TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE "channels" (
    name       TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (length(kind) BETWEEN 1 AND 32 AND kind NOT GLOB '*[^a-z0-9-]*'),
    -- JSON, without secrets.
    settings   TEXT NOT NULL,
    -- How far it has read, in its own words.
    cursor     TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE chat_moves (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    folder  TEXT NOT NULL,
    PRIMARY KEY (channel, chat_id, folder)
) STRICT, WITHOUT ROWID;
CREATE TABLE chats (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('direct', 'group')),
    title   TEXT,
    -- What becomes of senders that nobody knows; NULL is the kind's.
    unknown TEXT CHECK (unknown IN ('drop', 'ask', 'public')),
    PRIMARY KEY (channel, chat_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE dead_letters (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    post       INTEGER NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    error      TEXT NOT NULL,
    tries      INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'retried', 'dropped')),
    at         INTEGER NOT NULL,
    settled_at INTEGER
) STRICT;
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE state = 'open';
CREATE INDEX dead_letters_post ON dead_letters (post);
CREATE TABLE "drops" (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    -- Empty where it does not matter.
    sender  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    count   INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (channel, chat_id, sender, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX drops_last ON drops (last_at);
CREATE TABLE engaged_threads (
    channel   TEXT NOT NULL,
    chat_id   TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    folder    TEXT NOT NULL REFERENCES groups (folder) ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    PRIMARY KEY (channel, chat_id, thread_id, folder)
) STRICT, WITHOUT ROWID;
CREATE TABLE gone_programs (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    PRIMARY KEY (channel, chat_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE groups (
    folder        TEXT PRIMARY KEY,
    config        TEXT NOT NULL,
    config_hash   TEXT NOT NULL,
    registered_at INTEGER NOT NULL
, set_aside TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE held (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    approval INTEGER NOT NULL REFERENCES approvals (id) ON DELETE CASCADE,
    -- JSON.
    arrival  TEXT NOT NULL
) STRICT;
CREATE INDEX held_approval ON held (approval);
CREATE TABLE "hook_calls" (
    channel TEXT NOT NULL,
    hook    TEXT NOT NULL,
    -- SHA-256 of the signature.
    tag     BLOB NOT NULL,
    call    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    -- What the call says was taken: it is handed in no more.
    taken   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, hook, tag),
    FOREIGN KEY (channel, hook) REFERENCES "hooks" (channel, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX hook_calls_at ON hook_calls (at);
CREATE INDEX hook_calls_hook ON hook_calls (channel, hook, at);
CREATE TABLE "hooks" (
    channel    TEXT NOT NULL REFERENCES "channels" (name) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    chat_id    TEXT NOT NULL DEFAULT '',
    format     TEXT NOT NULL CHECK (length(format) BETWEEN 1 AND 32 AND format NOT GLOB '*[^a-z0-9-]*'),
    callback   TEXT,
    -- Which are taken, where the form has any: a JSON array of names; empty is all.
    events     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (channel, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE "late" (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    channel     TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    -- The group that it waits for; NULL is all that listen.
    folder      TEXT,
    platform_id TEXT NOT NULL,
    -- JSON: the arrival, and which of its files are in a workspace already.
    arrival     TEXT NOT NULL,
    placed      TEXT NOT NULL,
    -- How often it is to be taken in anew.
    again       INTEGER NOT NULL DEFAULT 0,
    -- It was counted when it came, and waits for no pace.
    counted     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX late_group ON late (channel, chat_id, folder, id) WHERE folder IS NOT NULL;
CREATE INDEX late_line ON late (channel, user_id, chat_id, folder, id);
CREATE UNIQUE INDEX late_message ON late (channel, chat_id, platform_id, coalesce(folder, ''));
CREATE TABLE lost_secrets (
    purpose TEXT NOT NULL CHECK (purpose IN ('channel', 'hook')),
    name    TEXT NOT NULL,
    PRIMARY KEY (purpose, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE moved_chats (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    now_id  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (channel, chat_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX moved_chats_now ON moved_chats (channel, now_id);
CREATE TABLE "pairings" (
    code       BLOB PRIMARY KEY,
    -- NULL changes no role.
    role       TEXT CHECK (role IN ('owner', 'admin', 'member', 'guest')),
    folder     TEXT REFERENCES groups (folder) ON DELETE CASCADE,
    -- The person that is meant; NULL makes a new one.
    person     INTEGER REFERENCES people (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL,
    CHECK (role IS NOT NULL OR person IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE TABLE people (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE posts (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    channel      TEXT NOT NULL,
    chat_id      TEXT NOT NULL,
    thread_id    TEXT,
    text         TEXT NOT NULL,
    action       TEXT,
    -- The approval that it asks for.
    approval     INTEGER REFERENCES approvals (id) ON DELETE CASCADE,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'leased', 'delivered', 'dead')),
    tries        INTEGER NOT NULL DEFAULT 0,
    doubt        INTEGER NOT NULL DEFAULT 0,
    next_try_at  INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    delivered_at INTEGER,
    sent         TEXT,
    last_error   TEXT
, lost INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX posts_approval ON posts (approval) WHERE approval IS NOT NULL;
CREATE INDEX posts_due ON posts (channel, chat_id, id) WHERE state IN ('pending', 'leased');
CREATE TABLE roles (
    person     INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    -- Of this group only; NULL is all of them.
    folder     TEXT REFERENCES groups (folder) ON DELETE CASCADE,
    role       TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'guest')),
    granted_by TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    CHECK (role <> 'owner' OR folder IS NULL)
) STRICT;
CREATE UNIQUE INDEX roles_scope ON roles (person, coalesce(folder, ''));
CREATE TABLE "secrets" (
    purpose TEXT NOT NULL CHECK (purpose IN ('channel', 'hook', 'callback')),
    name    TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (purpose, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE users (
    channel TEXT NOT NULL,
    user_id TEXT NOT NULL,
    person  INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    -- The chat in which only they and the bot are: where they can be reached.
    direct  TEXT,
    PRIMARY KEY (channel, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX users_person ON users (person);
CREATE TABLE "wirings" (
    channel      TEXT NOT NULL,
    chat_id      TEXT NOT NULL,
    folder       TEXT NOT NULL REFERENCES groups (folder) ON DELETE CASCADE,
    session_mode TEXT NOT NULL CHECK (session_mode IN ('shared', 'per-thread', 'group')),
    -- Which messages wake the agent.
    engage       TEXT NOT NULL DEFAULT 'always' CHECK (engage IN ('always', 'mention', 'pattern')),
    pattern      TEXT,
    -- A thread in which one did goes on without being asked again.
    sticky       INTEGER NOT NULL DEFAULT 0,
    -- What becomes of the others.
    others       TEXT NOT NULL DEFAULT 'drop' CHECK (others IN ('drop', 'context')),
    -- Whether the chat is shown what the agent does while it works.
    progress     INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (channel, chat_id, folder),
    CHECK ((engage = 'pattern') = (pattern IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX wirings_folder ON wirings (folder);
