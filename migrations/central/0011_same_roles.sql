-- A code may change no role: it makes another platform's user known as the person that is meant.
CREATE TABLE new_pairings (
    code       BLOB PRIMARY KEY,
    -- NULL changes no role.
    role       TEXT CHECK (role IN ('owner', 'admin', 'member', 'guest')),
    folder     TEXT REFERENCES groups (folder) ON DELETE CASCADE,
    -- The person that is meant; NULL makes a new one.
    person     INTEGER REFERENCES people (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL,
    CHECK (role IS NOT NULL OR person IS NOT NULL)
) STRICT, WITHOUT ROWID;
INSERT INTO new_pairings SELECT code, role, folder, person, expires_at FROM pairings;
DROP TABLE pairings;
ALTER TABLE new_pairings RENAME TO pairings;
