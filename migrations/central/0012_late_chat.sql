-- What waits is a line of its sender's in each chat, so that one chat's trouble is no other's. Where several groups listen, what one
-- of them does not take waits for it alone.
CREATE TABLE new_late (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    channel     TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    -- The group that it waits for; NULL is all that listen.
    folder      TEXT,
    platform_id TEXT NOT NULL,
    -- JSON: the arrival, and which of its files are in a workspace already.
    arrival     TEXT NOT NULL,
    placed      TEXT NOT NULL,
    -- How often it is to be taken in anew.
    again       INTEGER NOT NULL DEFAULT 0,
    -- It was counted when it came, and waits for no pace.
    counted     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO new_late (id, channel, user_id, chat_id, platform_id, arrival, placed, again, counted)
SELECT id, channel, user_id, chat_id, platform_id, arrival, placed, again, counted FROM late ORDER BY id;
DROP TABLE late;
ALTER TABLE new_late RENAME TO late;
CREATE UNIQUE INDEX late_message ON late (channel, chat_id, platform_id, coalesce(folder, ''));
CREATE INDEX late_line ON late (channel, user_id, chat_id, folder, id);
-- What waits for one group is in one line, whoever wrote it.
CREATE INDEX late_group ON late (channel, chat_id, folder, id) WHERE folder IS NOT NULL;
