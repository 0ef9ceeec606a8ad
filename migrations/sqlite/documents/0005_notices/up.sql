-- One row a notice that access may have changed in many rooms at once, for every node; deleted after a while. `org` is NULL where it
-- concerns every org; `users` is any-encoded as in the stream's checks, NULL where it concerns everybody; with `cut`, sessions end
-- without being asked for.
CREATE TABLE yhub_notices_v1 (
    at_ms BIGINT NOT NULL,
    id TEXT NOT NULL,
    org TEXT,
    users BLOB,
    cut BOOLEAN NOT NULL,
    PRIMARY KEY (at_ms, id)
);
