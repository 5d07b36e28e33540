-- A message that waits is taken in anew when an approval that held it too is given while it is being taken in.
ALTER TABLE late ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
-- It was counted when it came, as what was held for an approval was: it waits for no pace.
ALTER TABLE late ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
