-- What ends without anybody's blame is counted too, and a turn knows which one it comes after.

-- Facts about the database itself, such as the boot that wrote it last.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The turn before it over the same messages, or that they were offered to.
ALTER TABLE turns ADD COLUMN earlier INTEGER REFERENCES turns (id);

CREATE INDEX turns_earlier ON turns (earlier) WHERE earlier IS NOT NULL;

-- Ends of its turns that the engine or the host took with it: nobody's fault, as far as one can tell.
ALTER TABLE inbox ADD COLUMN outages INTEGER NOT NULL DEFAULT 0;
-- A power cut may have taken the turn that had it: the provider may know it, whatever its row says.
ALTER TABLE inbox ADD COLUMN offered INTEGER NOT NULL DEFAULT 0;

-- How often the daemon ended while it was handed over.
ALTER TABLE outbox ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
