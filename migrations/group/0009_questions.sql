-- Questions are answered from elsewhere too: by whom, and which message has their buttons.

ALTER TABLE questions ADD COLUMN reply INTEGER REFERENCES outbox (id);
ALTER TABLE questions ADD COLUMN answered_by TEXT;
ALTER TABLE questions ADD COLUMN ended_at INTEGER;
