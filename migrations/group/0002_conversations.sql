-- Conversations in depth: commands, compaction, retries, host tools, files, questions, MCP servers.

-- Counts the session's conversations: +1 at every /clear.
ALTER TABLE sessions ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
-- The newest message when the conversation was cleared: history begins after it.
ALTER TABLE sessions ADD COLUMN cleared_at INTEGER NOT NULL DEFAULT 0;
-- Chosen in the chat; NULL is the group's.
ALTER TABLE sessions ADD COLUMN model TEXT;
ALTER TABLE sessions ADD COLUMN effort TEXT;
-- Input tokens since the last compaction, and the provider's running total when it was last heard.
ALTER TABLE sessions ADD COLUMN since_compaction INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN last_total INTEGER;

-- What a message asks for; all but 'message' are commands of the chat.
ALTER TABLE inbox ADD COLUMN kind TEXT NOT NULL DEFAULT 'message'
    CHECK (kind IN ('message', 'stop', 'clear', 'compact', 'model', 'effort'));
-- Not before this time, ms: it waits for another try.
ALTER TABLE inbox ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
-- Turns of it that failed in a way that can pass.
ALTER TABLE inbox ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
-- The notice that it ended in when no turn answers it, such as a command's.
ALTER TABLE inbox ADD COLUMN notice INTEGER REFERENCES outbox (id);
-- JSON Schema that its answer must follow.
ALTER TABLE inbox ADD COLUMN output_schema TEXT;

-- A session's newest messages, without a walk over the group's.
CREATE INDEX inbox_session ON inbox (session, id);

ALTER TABLE turns ADD COLUMN work TEXT NOT NULL DEFAULT 'answer' CHECK (work IN ('answer', 'compact'));
-- Somebody asked for its end.
ALTER TABLE turns ADD COLUMN stop_requested INTEGER NOT NULL DEFAULT 0;
-- What it changed in files.
ALTER TABLE turns ADD COLUMN diff TEXT;

-- What the channel does with a reply instead of showing its text, as JSON; NULL is the text.
ALTER TABLE outbox ADD COLUMN action TEXT;

-- Files that came with messages; they lie in the workspace.
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

-- Calls of the host's tools, by which a repeated one is known.
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

-- Questions of the agent to people.
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
) STRICT;

CREATE INDEX questions_open ON questions (session) WHERE state = 'open';
CREATE INDEX questions_turn ON questions (turn);

CREATE TABLE compactions (
    id            INTEGER PRIMARY KEY,
    session       TEXT NOT NULL REFERENCES sessions (id),
    cause         TEXT NOT NULL CHECK (cause IN ('threshold', 'by_hand', 'automatic')),
    -- NULL is a success.
    failure       TEXT,
    tokens_before INTEGER NOT NULL,
    millis        INTEGER NOT NULL,
    at            INTEGER NOT NULL
) STRICT;

CREATE INDEX compactions_session ON compactions (session, id);

-- How the MCP servers of a session's newest attempt stand.
CREATE TABLE mcp_servers (
    session TEXT NOT NULL REFERENCES sessions (id),
    name    TEXT NOT NULL,
    status  TEXT NOT NULL CHECK (status IN ('starting', 'ready', 'failed')),
    error   TEXT,
    at      INTEGER NOT NULL,
    PRIMARY KEY (session, name)
) STRICT, WITHOUT ROWID;

-- The models that the provider knows, best first.
CREATE TABLE models (
    position       INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    -- A JSON array of texts, least first.
    efforts        TEXT NOT NULL,
    default_effort TEXT,
    is_default     INTEGER NOT NULL
) STRICT;
