-- What was set aside goes back to its room under the clocks it had, and waits for compaction again.
UPDATE stream_entries
SET room = (SELECT q.room FROM stream_quarantined AS q WHERE q.id = -stream_entries.room)
WHERE room < 0 AND EXISTS (SELECT 1 FROM stream_quarantined AS q WHERE q.id = -stream_entries.room);
INSERT OR IGNORE INTO stream_tasks (room, since_ms) SELECT DISTINCT room, 0 FROM stream_entries WHERE room > 0;
DROP TABLE stream_quarantined;

DROP INDEX stream_tasks_given_back;
DROP INDEX stream_tasks_waiting;
ALTER TABLE stream_tasks DROP COLUMN not_before_ms;
CREATE INDEX stream_tasks_waiting ON stream_tasks (since_ms) WHERE owner IS NULL;
ALTER TABLE stream_rooms DROP COLUMN paused;
