-- Who did what, and who may come in by which access token. Names and ids are sorted by their bytes ("C") where they are listed in
-- parts.

-- One row a record of something that was done or refused. `id` is of the store's own making, `stands_for` says how many alike
-- it counts for.
CREATE TABLE yhub_audit_v1 (
    at_ms int8 NOT NULL,
    id text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    via text NOT NULL,
    action text NOT NULL,
    org text COLLATE "C",
    docid text,
    branch text,
    result text NOT NULL,
    request_id text NOT NULL,
    address text,
    detail text NOT NULL,
    stands_for int8 NOT NULL,
    PRIMARY KEY (at_ms, id)
);
-- For listings of one org and of one actor.
CREATE INDEX yhub_audit_v1_org ON yhub_audit_v1 (org, at_ms, id);
CREATE INDEX yhub_audit_v1_actor ON yhub_audit_v1 (actor, at_ms, id);

-- One row an access token, without its secret. `org` is the one org that all its grants are in, NULL if they reach further;
-- `grants` are JSON. A row stays for a while after its token has ended.
CREATE TABLE yhub_access_tokens_v1 (
    id text COLLATE "C" NOT NULL,
    secret_hash bytea NOT NULL,
    org text COLLATE "C",
    user_id text NOT NULL,
    label text NOT NULL,
    grants text NOT NULL,
    created_ms int8 NOT NULL,
    expires_ms int8,
    revoked_ms int8,
    created_by text NOT NULL,
    PRIMARY KEY (id)
);
-- For listings of one org, and for what is to be forgotten.
CREATE INDEX yhub_access_tokens_v1_org ON yhub_access_tokens_v1 (org, id);
CREATE INDEX yhub_access_tokens_v1_expires ON yhub_access_tokens_v1 (expires_ms);
CREATE INDEX yhub_access_tokens_v1_revoked ON yhub_access_tokens_v1 (revoked_ms);

-- One row a token and another that it descends from; `depth` 0 is the root.
CREATE TABLE yhub_access_token_ancestors_v1 (
    token text COLLATE "C" NOT NULL,
    depth int8 NOT NULL,
    ancestor text COLLATE "C" NOT NULL,
    PRIMARY KEY (token, depth)
);
-- For revoking all that descend from one.
CREATE INDEX yhub_access_token_ancestors_v1_ancestor ON yhub_access_token_ancestors_v1 (ancestor);
