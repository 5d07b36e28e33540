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
