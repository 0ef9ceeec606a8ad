-- Without its records nobody can account for what was done, and without its row a token lets nobody in. Copy records and revoke
-- tokens first.
DO $$ BEGIN
    IF EXISTS (SELECT FROM yhub_audit_v1) OR EXISTS (SELECT FROM yhub_access_tokens_v1) THEN
        RAISE EXCEPTION 'there are audit records or access tokens in the database; they are not dropped with their tables';
    END IF;
END $$;
DROP TABLE yhub_access_token_ancestors_v1;
DROP TABLE yhub_access_tokens_v1;
DROP TABLE yhub_audit_v1;
