-- Which rooms fail to be compacted, and which streams were set aside for it. Clocks are texts, `ms-seq`: never sorted here.

-- One row a room: its latest failure, and how often in a row it had that signature.
CREATE TABLE yhub_failures_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    class TEXT NOT NULL,
    signature TEXT NOT NULL,
    message TEXT NOT NULL,
    from_clock TEXT NOT NULL,
    upto_clock TEXT NOT NULL,
    in_a_row BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (org, docid, branch)
);
-- How many rooms fail alike, since when.
CREATE INDEX yhub_failures_v1_alike ON yhub_failures_v1 (signature, last_ms);

-- One row a stream that was set aside; `qid` is its name in the log.
CREATE TABLE yhub_quarantines_v1 (
    org TEXT NOT NULL,
    docid TEXT NOT NULL,
    branch TEXT NOT NULL,
    qid TEXT NOT NULL,
    class TEXT NOT NULL,
    signature TEXT NOT NULL,
    reason TEXT NOT NULL,
    from_clock TEXT NOT NULL,
    upto_clock TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (org, docid, branch, qid)
);
