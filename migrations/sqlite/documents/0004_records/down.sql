-- Without its records nobody can account for what was done, and without its row a token lets nobody in.
DROP TABLE yhub_access_token_ancestors_v1;
DROP TABLE yhub_access_tokens_v1;
DROP TABLE yhub_audit_v1;
