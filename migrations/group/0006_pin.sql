-- The account that the chat chose among those of its group's pool.
ALTER TABLE sessions ADD COLUMN account TEXT;
