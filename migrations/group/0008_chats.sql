-- Chats of platforms: replies in several messages, what turns show, and what is said to others.

-- The platform's ids of its messages, piece by piece as its channel took them: a JSON array of texts and nulls.
ALTER TABLE outbox ADD COLUMN sent TEXT;

-- The message that shows what a turn does, until a reply takes its place or the turn ends.
CREATE TABLE shown (
    turn        INTEGER PRIMARY KEY REFERENCES turns (id),
    channel     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    thread_id   TEXT,
    platform_id TEXT NOT NULL
) STRICT;

-- Who wrote it, as the platform knows them; NULL where it does not say.
ALTER TABLE inbox ADD COLUMN sender_id TEXT;

-- What was said in a chat and not to the agent: it wakes nobody, and goes with the next message that does.
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

CREATE INDEX context_waiting ON context (session, channel, chat_id, id) WHERE turn IS NULL;
CREATE INDEX context_turn ON context (turn) WHERE turn IS NOT NULL;
