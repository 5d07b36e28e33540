-- What survives trouble: tries of starts and deliveries, doubts, dead letters.

-- Container starts that failed in a row, when the next one is due (ms), and why the last failed.
ALTER TABLE sessions ADD COLUMN start_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN start_again_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN start_error TEXT;
-- Its chats were told that their messages wait for something that is no fault of the session's.
ALTER TABLE sessions ADD COLUMN wait_told INTEGER NOT NULL DEFAULT 0;

-- It goes in a turn of its own: one over it and others came to nothing, or a person has it tried again.
ALTER TABLE inbox ADD COLUMN apart INTEGER NOT NULL DEFAULT 0;

-- Sessions whose newest attempt has a container, or a runner that spoke: what a start and every look afterwards ask for.
CREATE INDEX sessions_container ON sessions (id) WHERE container IS NOT NULL OR token_hash IS NOT NULL;

-- How often its channel may have taken it without our knowing: a lease that was lost, or an answer that never came.
ALTER TABLE outbox ADD COLUMN doubt INTEGER NOT NULL DEFAULT 0;
-- Why the last try failed.
ALTER TABLE outbox ADD COLUMN last_error TEXT;
-- The turn that was told that its chat never got this.
ALTER TABLE outbox ADD COLUMN told INTEGER REFERENCES turns (id);

CREATE INDEX outbox_untold ON outbox (session) WHERE state = 'dead' AND told IS NULL;
CREATE INDEX outbox_told ON outbox (told) WHERE told IS NOT NULL;
-- What did not simply arrive, for people.
CREATE INDEX outbox_trouble ON outbox (session, id) WHERE tries > 0 OR doubt > 0;

-- What was tried for the last time; a person decides what becomes of it.
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

CREATE INDEX dead_letters_open ON dead_letters (id) WHERE state = 'open';
CREATE INDEX dead_letters_message ON dead_letters (message) WHERE message IS NOT NULL;
CREATE INDEX dead_letters_reply ON dead_letters (reply) WHERE reply IS NOT NULL;

-- The turn that ran when it was reported: a clock that is set must not mix them up.
ALTER TABLE compactions ADD COLUMN turn INTEGER REFERENCES turns (id);
