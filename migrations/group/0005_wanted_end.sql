-- Who wants the newest attempt's end, written before its container is told: whoever sees it gone knows why.
ALTER TABLE sessions ADD COLUMN wanted_end TEXT CHECK (wanted_end IN ('person', 'daemon'));
