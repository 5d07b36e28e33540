-- A webhook or a key that is made under the name of one that was removed is another one: it has a chat of its own, and none of
-- the other's conversations, roles or answers.
ALTER TABLE hooks ADD COLUMN chat_id TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN chat_id TEXT NOT NULL DEFAULT '';
UPDATE hooks SET chat_id = 'hook/' || name;
UPDATE api_keys SET chat_id = 'key/' || name;

-- Chats of those that were removed, which nobody gets again.
CREATE TABLE gone_programs (
    channel TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    PRIMARY KEY (channel, chat_id)
) STRICT, WITHOUT ROWID;
-- Of earlier ones only what they left behind is known.
INSERT OR IGNORE INTO gone_programs (channel, chat_id)
SELECT old.channel, old.chat_id
FROM (SELECT channel, chat_id FROM drops UNION SELECT channel, chat_id FROM answered
      UNION SELECT channel, chat_id FROM posts UNION SELECT channel, replace(user_id, ':', '/') FROM users) AS old
JOIN channels ON channels.name = old.channel AND channels.kind = 'http'
WHERE (old.chat_id GLOB 'hook/*' OR old.chat_id GLOB 'key/*')
  AND (old.channel, old.chat_id) NOT IN (SELECT channel, chat_id FROM hooks UNION SELECT channel, chat_id FROM api_keys);

-- Nobody reads there what they are asked.
UPDATE users SET direct = NULL WHERE channel IN (SELECT name FROM channels WHERE kind = 'http');

-- Conversations are a key's by its chat.
UPDATE api_threads SET key = 'key/' || key;
CREATE INDEX api_threads_key ON api_threads (channel, key, at);

-- What a call says was taken: it is handed in no more.
ALTER TABLE hook_calls ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;
CREATE INDEX hook_calls_hook ON hook_calls (channel, hook, at);

-- Callbacks' addresses are sealed too.
CREATE TABLE new_secrets (
    purpose TEXT NOT NULL CHECK (purpose IN ('channel', 'hook', 'callback')),
    name    TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (purpose, name)
) STRICT, WITHOUT ROWID;
INSERT INTO new_secrets SELECT purpose, name, sealed FROM secrets;
DROP TABLE secrets;
ALTER TABLE new_secrets RENAME TO secrets;
