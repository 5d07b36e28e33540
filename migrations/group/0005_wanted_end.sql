-- Who wants its end, written before its container is told: whoever sees that gone knows why. It goes with the turn.
ALTER TABLE turns ADD COLUMN wanted_end TEXT CHECK (wanted_end IN ('person', 'daemon'));
