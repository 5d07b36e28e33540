-- What spans groups. Times are milliseconds since 1970, UTC.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- config is a parsed copy of container.json, the one source.
CREATE TABLE groups (
    folder        TEXT PRIMARY KEY,
    config        TEXT NOT NULL,
    config_hash   TEXT NOT NULL,
    registered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- chat -> group. A chat without a row here reaches nobody.
CREATE TABLE wirings (
    channel      TEXT NOT NULL,
    chat_id      TEXT NOT NULL,
    folder       TEXT NOT NULL REFERENCES groups (folder) ON DELETE CASCADE,
    session_mode TEXT NOT NULL CHECK (session_mode IN ('shared', 'per-thread', 'group')),
    PRIMARY KEY (channel, chat_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX wirings_folder ON wirings (folder);

-- Groups whose state.db may hold due work: what a start has to look at, however many groups there are.
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
