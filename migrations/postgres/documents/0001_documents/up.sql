-- Version rows, tombstones and fences of every room. Tables and columns of the first two: y/hub 0.7, whose tables are taken
-- over as they are where they exist.

CREATE TABLE IF NOT EXISTS yhub_ydoc_v1 (
    org text NOT NULL,
    docid text NOT NULL,
    branch text NOT NULL,
    t text NOT NULL,
    created int8,
    gcdoc bytea,
    nongcdoc bytea,
    contentmap bytea,
    contentids bytea,
    gcdoc_is_reference boolean NOT NULL DEFAULT TRUE,
    nongcdoc_is_reference boolean NOT NULL DEFAULT TRUE,
    contentmap_is_reference boolean NOT NULL DEFAULT TRUE,
    contentids_is_reference boolean NOT NULL DEFAULT TRUE,
    PRIMARY KEY (org, docid, branch, t)
);

CREATE TABLE IF NOT EXISTS yhub_ydoc_tombstones_v1 (
    org text NOT NULL,
    docid text NOT NULL,
    branch text NOT NULL,
    deleted_at int8 NOT NULL,
    hard boolean NOT NULL,
    purged_at int8,
    "by" text,
    PRIMARY KEY (org, docid, branch)
);
CREATE INDEX IF NOT EXISTS yhub_ydoc_tombstones_v1_pending ON yhub_ydoc_tombstones_v1 (deleted_at) WHERE purged_at IS NULL;

-- The highest epoch of a compaction that has stored; a lower one is superseded. Its row is also the lock of its room.
CREATE TABLE IF NOT EXISTS yhub_room_epochs_v1 (
    org text NOT NULL,
    docid text NOT NULL,
    branch text NOT NULL,
    epoch int8 NOT NULL,
    PRIMARY KEY (org, docid, branch)
);
