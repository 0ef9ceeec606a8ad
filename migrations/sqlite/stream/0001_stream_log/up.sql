-- The short-lived log of every room and the queue of rooms to compact.
-- 'yhST': whose file this is.
PRAGMA application_id = 2036880212;

-- One row a room, for ever: its clocks must not start anew when its stream is empty.
CREATE TABLE stream_rooms (
    id INTEGER NOT NULL PRIMARY KEY,
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    -- The last clock given, as of the latest trim. Entries in the log may be beyond it.
    last_ms BIGINT NOT NULL DEFAULT 0,
    last_seq BIGINT NOT NULL DEFAULT 0,
    -- The highest entry that was trimmed; 0-0 if none ever was.
    trimmed_ms BIGINT NOT NULL DEFAULT 0,
    trimmed_seq BIGINT NOT NULL DEFAULT 0,
    -- The epoch of the latest claim.
    epoch BIGINT NOT NULL DEFAULT 0,
    UNIQUE (org, docid, branch)
);

-- In the order of arrival, so that an append writes at the end of the file; found by room through the index.
CREATE TABLE stream_entries (
    pos INTEGER NOT NULL PRIMARY KEY,
    room BIGINT NOT NULL,
    ms BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    -- The any-encoded message; NULL is a filler.
    message BLOB
);
CREATE UNIQUE INDEX stream_entries_by_clock ON stream_entries (room, ms, seq);

-- One row a live room. AUTOINCREMENT: the name of a finished task never comes back.
CREATE TABLE stream_tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    room BIGINT NOT NULL UNIQUE,
    owner TEXT,
    epoch BIGINT NOT NULL DEFAULT 0,
    attempt BIGINT NOT NULL DEFAULT 0,
    -- Nobody's: since when it waits, 0 if it was given back. Somebody's: when it was last renewed.
    since_ms BIGINT NOT NULL
);
CREATE INDEX stream_tasks_waiting ON stream_tasks (since_ms) WHERE owner IS NULL;
CREATE INDEX stream_tasks_claimed ON stream_tasks (since_ms) WHERE owner IS NOT NULL;

-- Written to see whether the log can be written.
CREATE TABLE stream_probe (
    id INTEGER NOT NULL PRIMARY KEY,
    checked_ms BIGINT NOT NULL
);
