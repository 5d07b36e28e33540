-- What was given up, what moved, and what a copy leaves out: so that nothing of it is lost without a word.

-- How often the daemon ended while it was handed over.
ALTER TABLE posts ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;

-- Posts that were tried for the last time; a person decides what becomes of them.
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

-- Chats that their platform gave another id. What still comes under the old one is of the new one.
CREATE TABLE moved_chats (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    now_id  TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (channel, chat_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX moved_chats_now ON moved_chats (channel, now_id);

-- Whose rows may still have the old id: a group's, or with an empty name Cofferdam's own posts.
CREATE TABLE chat_moves (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    folder  TEXT NOT NULL,
    PRIMARY KEY (channel, chat_id, folder)
) STRICT, WITHOUT ROWID;

-- Secrets that were there where this database was copied from. No copy has them, so they are asked for again.
CREATE TABLE lost_secrets (
    purpose TEXT NOT NULL CHECK (purpose IN ('channel', 'hook')),
    name    TEXT NOT NULL,
    PRIMARY KEY (purpose, name)
) STRICT, WITHOUT ROWID;

-- Posts that were given up before somebody could be told of them.
INSERT INTO dead_letters (post, error, tries, state, at)
SELECT id, coalesce(last_error, 'its channel did not take it'), tries, 'open', created_at FROM posts WHERE state = 'dead';
