-- Which rooms fail to be compacted, and which streams were set aside for it. Clocks are texts, `ms-seq`: never sorted here.
-- Names of rooms are sorted by their bytes ("C"), as everywhere in yhub: listings are read in parts, in that order.

-- One row a room: its latest failure, and how often in a row it had that signature.
CREATE TABLE yhub_failures_v1 (
    org text COLLATE "C" NOT NULL,
    docid text COLLATE "C" NOT NULL,
    branch text COLLATE "C" NOT NULL,
    class text NOT NULL,
    signature text NOT NULL,
    message text NOT NULL,
    from_clock text NOT NULL,
    upto_clock text NOT NULL,
    in_a_row int8 NOT NULL,
    attempt int8 NOT NULL,
    first_ms int8 NOT NULL,
    last_ms int8 NOT NULL,
    PRIMARY KEY (org, docid, branch)
);
-- How many rooms fail alike, since when.
CREATE INDEX yhub_failures_v1_alike ON yhub_failures_v1 (signature, last_ms);

-- One row a stream that was set aside; `qid` is its name in the log.
CREATE TABLE yhub_quarantines_v1 (
    org text COLLATE "C" NOT NULL,
    docid text COLLATE "C" NOT NULL,
    branch text COLLATE "C" NOT NULL,
    qid text NOT NULL,
    class text NOT NULL,
    signature text NOT NULL,
    reason text NOT NULL,
    from_clock text NOT NULL,
    upto_clock text NOT NULL,
    at_ms int8 NOT NULL,
    PRIMARY KEY (org, docid, branch, qid)
);
