-- Who did what, and who may come in by which access token.

-- One row a record of something that was done or refused. `id` is of the store's own making, `stands_for` says how many alike
-- it counts for.
CREATE TABLE yhub_audit_v1 (
    at_ms BIGINT NOT NULL,
    id TEXT NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL,
    action TEXT NOT NULL,
    org TEXT,
    docid TEXT,
    branch TEXT,
    result TEXT NOT NULL,
    request_id TEXT NOT NULL,
    address TEXT,
    detail TEXT NOT NULL,
    stands_for BIGINT NOT NULL,
    PRIMARY KEY (at_ms, id)
);
-- For listings of one org and of one actor.
CREATE INDEX yhub_audit_v1_org ON yhub_audit_v1 (org, at_ms, id);
CREATE INDEX yhub_audit_v1_actor ON yhub_audit_v1 (actor, at_ms, id);

-- One row an access token, without its secret. `org` is the one org that all its grants are in, NULL if they reach further;
-- `grants` are JSON. A row stays for a while after its token has ended.
CREATE TABLE yhub_access_tokens_v1 (
    id TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    org TEXT,
    user_id TEXT NOT NULL,
    label TEXT NOT NULL,
    grants TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    created_by TEXT NOT NULL,
    PRIMARY KEY (id)
);
-- For listings of one org, and for what is to be forgotten.
CREATE INDEX yhub_access_tokens_v1_org ON yhub_access_tokens_v1 (org, id);
CREATE INDEX yhub_access_tokens_v1_expires ON yhub_access_tokens_v1 (expires_ms);
CREATE INDEX yhub_access_tokens_v1_revoked ON yhub_access_tokens_v1 (revoked_ms);

-- One row a token and another that it descends from; `depth` 0 is the root.
CREATE TABLE yhub_access_token_ancestors_v1 (
    token TEXT NOT NULL,
    depth BIGINT NOT NULL,
    ancestor TEXT NOT NULL,
    PRIMARY KEY (token, depth)
);
-- For revoking all that descend from one.
CREATE INDEX yhub_access_token_ancestors_v1_ancestor ON yhub_access_token_ancestors_v1 (ancestor);
