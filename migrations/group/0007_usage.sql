-- What model calls cost, added up, and the newest of them one by one.

-- Calls that an account served. Neither a session nor an account has to be there still: what was spent stays spent.
CREATE TABLE usage (
    -- YYYY-MM-DD, in the group's time zone when it was written.
    day       TEXT NOT NULL,
    session   TEXT NOT NULL,
    account   TEXT NOT NULL,
    model     TEXT NOT NULL,
    calls     INTEGER NOT NULL,
    -- Tokens, as the vendor counts them: cached are a part of input, reasoning of output.
    input     INTEGER NOT NULL,
    cached    INTEGER NOT NULL,
    output    INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    PRIMARY KEY (day, session, account, model)
) STRICT, WITHOUT ROWID;

-- The newest are kept, in the order of their ids.
CREATE TABLE model_calls (
    id        INTEGER PRIMARY KEY,
    -- When it ended, ms since 1970.
    at        INTEGER NOT NULL,
    session   TEXT NOT NULL,
    -- Who served it; none when nobody did.
    account   TEXT,
    -- Who was asked before and did not: a JSON list of {account, why}.
    missed    TEXT NOT NULL,
    model     TEXT,
    route     TEXT NOT NULL,
    outcome   TEXT NOT NULL CHECK (outcome IN ('completed', 'failed', 'cut', 'given_up')),
    why       TEXT,
    millis    INTEGER NOT NULL,
    -- Tokens, if the vendor told them.
    input     INTEGER,
    cached    INTEGER,
    output    INTEGER,
    reasoning INTEGER
) STRICT;
