-- Which kinds of channels and forms of webhooks there are, the program says, so that a new one needs no new schema. A home may have
-- one that this program does not know: only what can name any is checked here.
--
-- SQLite changes no CHECK, so the tables are made anew. Foreign keys hold meanwhile, and to drop a table deletes what refers to
-- its rows (ON DELETE CASCADE). So all that refers to them is made anew, too, referring to the new tables, and nothing is dropped
-- before what refers to it. Whoever refers to a table follows when it is renamed.
CREATE TABLE new_channels (
    name       TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (length(kind) BETWEEN 1 AND 32 AND kind NOT GLOB '*[^a-z0-9-]*'),
    -- JSON, without secrets.
    settings   TEXT NOT NULL,
    -- How far it has read, in its own words.
    cursor     TEXT,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO new_channels (name, kind, settings, cursor, created_at)
SELECT name, kind, settings, cursor, created_at FROM channels;

CREATE TABLE new_hooks (
    channel    TEXT NOT NULL REFERENCES new_channels (name) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    chat_id    TEXT NOT NULL DEFAULT '',
    format     TEXT NOT NULL CHECK (length(format) BETWEEN 1 AND 32 AND format NOT GLOB '*[^a-z0-9-]*'),
    callback   TEXT,
    -- Which are taken, where the form has any: a JSON array of names; empty is all.
    events     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (channel, name)
) STRICT, WITHOUT ROWID;
INSERT INTO new_hooks (channel, name, chat_id, format, callback, events, created_at)
SELECT channel, name, chat_id, format, callback, events, created_at FROM hooks;

-- Signatures of webhooks' calls, each with its call's id: who copies a call cannot send it again under another one.
CREATE TABLE new_hook_calls (
    channel TEXT NOT NULL,
    hook    TEXT NOT NULL,
    -- SHA-256 of the signature.
    tag     BLOB NOT NULL,
    call    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    -- What the call says was taken: it is handed in no more.
    taken   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, hook, tag),
    FOREIGN KEY (channel, hook) REFERENCES new_hooks (channel, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO new_hook_calls (channel, hook, tag, call, at, taken)
SELECT channel, hook, tag, call, at, taken FROM hook_calls;

CREATE TABLE new_api_keys (
    channel    TEXT NOT NULL REFERENCES new_channels (name) ON DELETE CASCADE,
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
INSERT INTO new_api_keys (channel, name, chat_id, hash, model, expires_at, revoked_at, used_at, created_at)
SELECT channel, name, chat_id, hash, model, expires_at, revoked_at, used_at, created_at FROM api_keys;

-- Which thread a conversation without a name of its own goes on in.
CREATE TABLE new_api_threads (
    channel     TEXT NOT NULL REFERENCES new_channels (name) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    thread      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (channel, key, fingerprint)
) STRICT, WITHOUT ROWID;
INSERT INTO new_api_threads (channel, key, fingerprint, thread, at)
SELECT channel, key, fingerprint, thread, at FROM api_threads;

DROP TABLE hook_calls;
DROP TABLE hooks;
DROP TABLE api_keys;
DROP TABLE api_threads;
DROP TABLE channels;

ALTER TABLE new_channels RENAME TO channels;
ALTER TABLE new_hooks RENAME TO hooks;
ALTER TABLE new_hook_calls RENAME TO hook_calls;
ALTER TABLE new_api_keys RENAME TO api_keys;
ALTER TABLE new_api_threads RENAME TO api_threads;

CREATE INDEX hook_calls_at ON hook_calls (at);
CREATE INDEX hook_calls_hook ON hook_calls (channel, hook, at);
CREATE INDEX api_threads_at ON api_threads (at);
CREATE INDEX api_threads_key ON api_threads (channel, key, at);
