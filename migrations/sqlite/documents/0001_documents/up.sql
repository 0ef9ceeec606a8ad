-- Version rows, tombstones and fences of every room. Tables and columns of the first two: y/hub 0.7.
-- 'yhDO': whose file this is.
PRAGMA application_id = 2036876367;

CREATE TABLE yhub_ydoc_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    t TEXT NOT NULL,
    created BIGINT,
    gcdoc BLOB,
    nongcdoc BLOB,
    contentmap BLOB,
    contentids BLOB,
    gcdoc_is_reference BOOLEAN NOT NULL DEFAULT TRUE,
    nongcdoc_is_reference BOOLEAN NOT NULL DEFAULT TRUE,
    contentmap_is_reference BOOLEAN NOT NULL DEFAULT TRUE,
    contentids_is_reference BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (org, docid, branch, t)
);

CREATE TABLE yhub_ydoc_tombstones_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    deleted_at BIGINT NOT NULL,
    hard BOOLEAN NOT NULL,
    purged_at BIGINT,
    "by" TEXT,
    PRIMARY KEY (org, docid, branch)
);
CREATE INDEX yhub_ydoc_tombstones_v1_pending ON yhub_ydoc_tombstones_v1 (deleted_at) WHERE purged_at IS NULL;

-- The highest epoch of a compaction that has stored; a lower one is superseded.
CREATE TABLE yhub_room_epochs_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    PRIMARY KEY (org, docid, branch)
);
