-- Why a group's database is not used, in words; NULL is a group in order.
ALTER TABLE groups ADD COLUMN set_aside TEXT;
