-- Signatures of webhooks' calls, each with its call's id: who copies a call cannot send it again under another one.
CREATE TABLE hook_calls (
    channel TEXT NOT NULL,
    hook    TEXT NOT NULL,
    -- SHA-256 of the signature.
    tag     BLOB NOT NULL,
    call    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (channel, hook, tag),
    FOREIGN KEY (channel, hook) REFERENCES hooks (channel, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX hook_calls_at ON hook_calls (at);
