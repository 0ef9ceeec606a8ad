-- What deletion needs beside the tombstones: holds, what was erased, receipts; and who has which duty now.

-- One row a room that must not be erased.
CREATE TABLE yhub_holds_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    held_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (org, docid, branch)
);

-- One row a version row that was erased, until the receipt of its room tells of it: how long its columns were, and which
-- plugins had what they referred to.
CREATE TABLE yhub_erased_rows_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    t TEXT NOT NULL,
    gcdoc_bytes BIGINT,
    nongcdoc_bytes BIGINT,
    contentmap_bytes BIGINT,
    contentids_bytes BIGINT,
    gcdoc_plugin TEXT,
    nongcdoc_plugin TEXT,
    contentmap_plugin TEXT,
    contentids_plugin TEXT,
    PRIMARY KEY (org, docid, branch, t)
);

-- One row a room that was purged: what was found, erased, and read back as gone, as JSON.
CREATE TABLE yhub_deletion_receipts_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    purged_at BIGINT NOT NULL,
    receipt TEXT NOT NULL,
    PRIMARY KEY (org, docid, branch)
);

-- One row a duty that one node at a time takes care of: who, since when, until when, by the log's time.
CREATE TABLE yhub_duties_v1 (
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    taken_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (name)
);
