-- Whether a wiring's chat is shown what the agent does while it works.
ALTER TABLE wirings ADD COLUMN progress INTEGER NOT NULL DEFAULT 1;
