-- Pools: accounts that stand in for the one that owns them. A member owns none.
ALTER TABLE accounts ADD COLUMN strategy TEXT
    CHECK (strategy IN ('primary_first', 'round_robin', 'priority_order', 'quota_aware'));

-- By preference. With priority_order the owner itself may be among them.
CREATE TABLE account_members (
    owner    TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    member   TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
    PRIMARY KEY (owner, position),
    UNIQUE (owner, member)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_members_member ON account_members (member);
