-- Messages of somebody who writes faster than is read: taken in one after the other, as fast as that sender may.
CREATE TABLE late (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    channel     TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    platform_id TEXT NOT NULL,
    -- JSON: the arrival, and which of its files are in a workspace already.
    arrival     TEXT NOT NULL,
    placed      TEXT NOT NULL,
    UNIQUE (channel, chat_id, platform_id)
) STRICT;

CREATE INDEX late_writer ON late (channel, user_id, id);
