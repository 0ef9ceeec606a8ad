-- What deletion needs beside the tombstones: holds, what was erased, receipts; and who has which duty now. Names of rooms are
-- sorted by their bytes ("C") where they are listed in parts.

-- One row a room that must not be erased.
CREATE TABLE yhub_holds_v1 (
    org text COLLATE "C" NOT NULL,
    docid text COLLATE "C" NOT NULL,
    branch text COLLATE "C" NOT NULL,
    held_by text NOT NULL,
    reason text NOT NULL,
    at_ms int8 NOT NULL,
    PRIMARY KEY (org, docid, branch)
);

-- One row a version row that was erased, until the receipt of its room tells of it: how long its columns were, and which
-- plugins had what they referred to.
CREATE TABLE yhub_erased_rows_v1 (
    org text COLLATE "C" NOT NULL,
    docid text COLLATE "C" NOT NULL,
    branch text COLLATE "C" NOT NULL,
    t text COLLATE "C" NOT NULL,
    gcdoc_bytes int8,
    nongcdoc_bytes int8,
    contentmap_bytes int8,
    contentids_bytes int8,
    gcdoc_plugin text,
    nongcdoc_plugin text,
    contentmap_plugin text,
    contentids_plugin text,
    PRIMARY KEY (org, docid, branch, t)
);

-- One row a room that was purged: what was found, erased, and read back as gone, as JSON.
CREATE TABLE yhub_deletion_receipts_v1 (
    org text COLLATE "C" NOT NULL,
    docid text COLLATE "C" NOT NULL,
    branch text COLLATE "C" NOT NULL,
    purged_at int8 NOT NULL,
    receipt text NOT NULL,
    PRIMARY KEY (org, docid, branch)
);

-- One row a duty that one node at a time takes care of: who, since when, until when, by the log's time.
CREATE TABLE yhub_duties_v1 (
    name text COLLATE "C" NOT NULL,
    owner text NOT NULL,
    taken_ms int8 NOT NULL,
    until_ms int8 NOT NULL,
    PRIMARY KEY (name)
);
