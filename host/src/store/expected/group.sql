CREATE TABLE inbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    session     TEXT NOT NULL REFERENCES sessions (id),
    channel     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    thread_id   TEXT,
    -- The platform's own id, by which a repeated message is known.
    platform_id TEXT NOT NULL,
    sender      TEXT NOT NULL,
    text        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'done')),
    -- The newest turn that took it.
    turn        INTEGER REFERENCES turns (id),
    tries       INTEGER NOT NULL DEFAULT 0,
    accepted_at INTEGER NOT NULL,
    UNIQUE (channel, chat_id, platform_id)
) STRICT;
CREATE INDEX inbox_due ON inbox (session, id) WHERE state = 'pending';
CREATE INDEX inbox_turn ON inbox (turn) WHERE turn IS NOT NULL;
CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    session      TEXT NOT NULL REFERENCES sessions (id),
    turn         INTEGER REFERENCES turns (id),
    channel      TEXT NOT NULL,
    chat_id      TEXT NOT NULL,
    thread_id    TEXT,
    kind         TEXT NOT NULL CHECK (kind IN ('reply', 'notice')),
    text         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'leased', 'delivered', 'dead')),
    tries        INTEGER NOT NULL DEFAULT 0,
    next_try_at  INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    delivered_at INTEGER
) STRICT;
CREATE INDEX outbox_due ON outbox (channel, chat_id, id) WHERE state IN ('pending', 'leased');
CREATE INDEX outbox_turn ON outbox (turn) WHERE turn IS NOT NULL;
CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,
    channel      TEXT NOT NULL,
    chat_id      TEXT NOT NULL,
    thread_id    TEXT,
    -- The fencing number: +1 at every container start.
    attempt      INTEGER NOT NULL DEFAULT 0,
    -- SHA-256 of the token that `hello` of this attempt handed out; NULL before it.
    token_hash   BLOB,
    -- The newest event kept of this attempt.
    last_seq     INTEGER NOT NULL DEFAULT 0,
    container    TEXT,
    provider     TEXT,
    config_hash  TEXT,
    -- The provider's thread.
    continuation TEXT,
    created_at   INTEGER NOT NULL,
    active_at    INTEGER NOT NULL
) STRICT;
CREATE TABLE turns (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    session          TEXT NOT NULL REFERENCES sessions (id),
    attempt          INTEGER NOT NULL,
    state            TEXT NOT NULL
                     CHECK (state IN ('running', 'completed', 'failed', 'interrupted', 'abandoned')),
    failure_kind     TEXT,
    failure_message  TEXT,
    input_tokens     INTEGER,
    cached_tokens    INTEGER,
    output_tokens    INTEGER,
    reasoning_tokens INTEGER,
    provider_ms      REAL,
    started_at       INTEGER NOT NULL,
    finished_at      INTEGER
) STRICT;
CREATE INDEX turns_running ON turns (session) WHERE state = 'running';
CREATE INDEX turns_session ON turns (session);
