-- Streams that are set aside, rooms whose compaction is paused, and tasks that are given back for later.

-- Entries of a stream that was set aside stand in `stream_entries` under the room `-id`: setting aside moves no bytes.
-- AUTOINCREMENT: no id comes back, so nobody who reads one stream page by page ends up in another.
CREATE TABLE stream_quarantined (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    room BIGINT NOT NULL,
    qid TEXT NOT NULL,
    UNIQUE (room, qid)
);

-- While it is true the room has no task, whatever is appended.
ALTER TABLE stream_rooms ADD COLUMN paused BOOLEAN NOT NULL DEFAULT FALSE;

-- Not NULL only while it is nobody's: it was given back, and may be claimed from then on, without debounce.
ALTER TABLE stream_tasks ADD COLUMN not_before_ms BIGINT;

DROP INDEX stream_tasks_waiting;
CREATE INDEX stream_tasks_waiting ON stream_tasks (since_ms) WHERE owner IS NULL AND not_before_ms IS NULL;
CREATE INDEX stream_tasks_given_back ON stream_tasks (not_before_ms) WHERE owner IS NULL AND not_before_ms IS NOT NULL;
