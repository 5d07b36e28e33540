CREATE TABLE attachments (
    id      INTEGER PRIMARY KEY,
    message INTEGER NOT NULL REFERENCES inbox (id),
    name    TEXT NOT NULL,
    -- Below the workspace.
    path    TEXT NOT NULL,
    bytes   INTEGER NOT NULL,
    image   INTEGER NOT NULL
) STRICT;
CREATE INDEX attachments_message ON attachments (message);
CREATE TABLE compactions (
    id            INTEGER PRIMARY KEY,
    session       TEXT NOT NULL REFERENCES sessions (id),
    cause         TEXT NOT NULL CHECK (cause IN ('threshold', 'by_hand', 'automatic')),
    -- NULL is a success.
    failure       TEXT,
    tokens_before INTEGER NOT NULL,
    millis        INTEGER NOT NULL,
    at            INTEGER NOT NULL
, turn INTEGER REFERENCES turns (id)) STRICT;
CREATE INDEX compactions_session ON compactions (session, id);
CREATE TABLE context (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    session     TEXT NOT NULL REFERENCES sessions (id),
    channel     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    thread_id   TEXT,
    platform_id TEXT NOT NULL,
    sender      TEXT NOT NULL,
    text        TEXT NOT NULL,
    -- The turn that was shown it.
    turn        INTEGER REFERENCES turns (id),
    at          INTEGER NOT NULL,
    UNIQUE (channel, chat_id, platform_id)
) STRICT;
CREATE INDEX context_turn ON context (turn) WHERE turn IS NOT NULL;
CREATE INDEX context_waiting ON context (session, channel, chat_id, id) WHERE turn IS NULL;
CREATE TABLE dead_letters (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    session    TEXT NOT NULL REFERENCES sessions (id),
    -- Exactly one of the two.
    message    INTEGER REFERENCES inbox (id),
    reply      INTEGER REFERENCES outbox (id),
    cause      TEXT NOT NULL CHECK (cause IN ('start', 'provider', 'container', 'delivery')),
    error      TEXT NOT NULL,
    tries      INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'retried', 'dropped')),
    at         INTEGER NOT NULL,
    settled_at INTEGER,
    CHECK ((message IS NULL) <> (reply IS NULL))
) STRICT;
CREATE INDEX dead_letters_message ON dead_letters (message) WHERE message IS NOT NULL;
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE state = 'open';
CREATE INDEX dead_letters_reply ON dead_letters (reply) WHERE reply IS NOT NULL;
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
    accepted_at INTEGER NOT NULL, kind TEXT NOT NULL DEFAULT 'message'
    CHECK (kind IN ('message', 'stop', 'clear', 'compact', 'model', 'effort')), due_at INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, notice INTEGER REFERENCES outbox (id), output_schema TEXT, apart INTEGER NOT NULL DEFAULT 0, outages INTEGER NOT NULL DEFAULT 0, offered INTEGER NOT NULL DEFAULT 0, sender_id TEXT,
    UNIQUE (channel, chat_id, platform_id)
) STRICT;
CREATE INDEX inbox_due ON inbox (session, id) WHERE state = 'pending';
CREATE INDEX inbox_session ON inbox (session, id);
CREATE INDEX inbox_turn ON inbox (turn) WHERE turn IS NOT NULL;
CREATE TABLE mcp_servers (
    session TEXT NOT NULL REFERENCES sessions (id),
    name    TEXT NOT NULL,
    status  TEXT NOT NULL CHECK (status IN ('starting', 'ready', 'failed')),
    error   TEXT,
    at      INTEGER NOT NULL,
    PRIMARY KEY (session, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE model_calls (
    id        INTEGER PRIMARY KEY,
    -- When it ended, ms since 1970.
    at        INTEGER NOT NULL,
    session   TEXT NOT NULL,
    -- Who served it; none when nobody did.
    account   TEXT,
    -- Who was asked before and did not: a JSON list of {account, why}.
    missed    TEXT NOT NULL,
    model     TEXT,
    route     TEXT NOT NULL,
    outcome   TEXT NOT NULL CHECK (outcome IN ('completed', 'failed', 'cut', 'given_up')),
    why       TEXT,
    millis    INTEGER NOT NULL,
    -- Tokens, if the vendor told them.
    input     INTEGER,
    cached    INTEGER,
    output    INTEGER,
    reasoning INTEGER
) STRICT;
CREATE TABLE models (
    position       INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    -- A JSON array of texts, least first.
    efforts        TEXT NOT NULL,
    default_effort TEXT,
    is_default     INTEGER NOT NULL
) STRICT;
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
, action TEXT, doubt INTEGER NOT NULL DEFAULT 0, last_error TEXT, told INTEGER REFERENCES turns (id), lost INTEGER NOT NULL DEFAULT 0, sent TEXT) STRICT;
CREATE INDEX outbox_due ON outbox (channel, chat_id, id) WHERE state IN ('pending', 'leased');
CREATE INDEX outbox_told ON outbox (told) WHERE told IS NOT NULL;
CREATE INDEX outbox_trouble ON outbox (session, id) WHERE tries > 0 OR doubt > 0;
CREATE INDEX outbox_turn ON outbox (turn) WHERE turn IS NOT NULL;
CREATE INDEX outbox_untold ON outbox (session) WHERE state = 'dead' AND told IS NULL;
CREATE TABLE questions (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    session    TEXT NOT NULL REFERENCES sessions (id),
    turn       INTEGER NOT NULL REFERENCES turns (id),
    call_id    TEXT NOT NULL,
    channel    TEXT NOT NULL,
    chat_id    TEXT NOT NULL,
    thread_id  TEXT,
    text       TEXT NOT NULL,
    -- A JSON array of texts.
    options    TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'answered', 'expired', 'withdrawn')),
    answer     TEXT,
    -- The message that was the answer.
    message    INTEGER REFERENCES inbox (id),
    asked_at   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
, reply INTEGER REFERENCES outbox (id), answered_by TEXT, ended_at INTEGER) STRICT;
CREATE INDEX questions_open ON questions (session) WHERE state = 'open';
CREATE INDEX questions_turn ON questions (turn);
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
, generation INTEGER NOT NULL DEFAULT 0, cleared_at INTEGER NOT NULL DEFAULT 0, model TEXT, effort TEXT, since_compaction INTEGER NOT NULL DEFAULT 0, last_total INTEGER, start_failures INTEGER NOT NULL DEFAULT 0, start_again_at INTEGER NOT NULL DEFAULT 0, start_error TEXT, wait_told INTEGER NOT NULL DEFAULT 0, account TEXT) STRICT;
CREATE INDEX sessions_container ON sessions (id) WHERE container IS NOT NULL OR token_hash IS NOT NULL;
CREATE TABLE shown (
    turn        INTEGER PRIMARY KEY REFERENCES turns (id),
    channel     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    thread_id   TEXT,
    platform_id TEXT NOT NULL
) STRICT;
CREATE TABLE tool_calls (
    turn        INTEGER NOT NULL REFERENCES turns (id),
    call_id     TEXT NOT NULL,
    session     TEXT NOT NULL REFERENCES sessions (id),
    tool        TEXT NOT NULL,
    -- What it was called with, shortened for people.
    summary     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'failed')),
    answer      TEXT,
    called_at   INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (turn, call_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tool_calls_session ON tool_calls (session, called_at);
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
, work TEXT NOT NULL DEFAULT 'answer' CHECK (work IN ('answer', 'compact')), stop_requested INTEGER NOT NULL DEFAULT 0, diff TEXT, earlier INTEGER REFERENCES turns (id), wanted_end TEXT CHECK (wanted_end IN ('person', 'daemon'))) STRICT;
CREATE INDEX turns_earlier ON turns (earlier) WHERE earlier IS NOT NULL;
CREATE INDEX turns_running ON turns (session) WHERE state = 'running';
CREATE INDEX turns_session ON turns (session);
CREATE TABLE usage (
    -- YYYY-MM-DD, in the group's time zone when it was written.
    day       TEXT NOT NULL,
    session   TEXT NOT NULL,
    account   TEXT NOT NULL,
    model     TEXT NOT NULL,
    calls     INTEGER NOT NULL,
    -- Tokens, as the vendor counts them: cached are a part of input, reasoning of output.
    input     INTEGER NOT NULL,
    cached    INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    PRIMARY KEY (day, session, account, model)
) STRICT, WITHOUT ROWID;
