-- Who the channel of a name is at its platform, where each numbers its messages anew. It stays when the channel is taken away:
-- what groups have of its messages stays, too.
CREATE TABLE channel_identities (
    channel  TEXT PRIMARY KEY,
    identity TEXT NOT NULL
) STRICT, WITHOUT ROWID;
