-- Without its hold a room may be erased, and without its receipt nobody can show that it was; a note of what was erased names
-- objects that are still there. Take holds off and copy receipts first.
DO $$ BEGIN
    IF EXISTS (SELECT FROM yhub_holds_v1) OR EXISTS (SELECT FROM yhub_deletion_receipts_v1)
        OR EXISTS (SELECT FROM yhub_erased_rows_v1) THEN
        RAISE EXCEPTION 'there are holds, receipts or unfinished purges in the database; they are not dropped with their tables';
    END IF;
END $$;
DROP TABLE yhub_duties_v1;
DROP TABLE yhub_deletion_receipts_v1;
DROP TABLE yhub_erased_rows_v1;
DROP TABLE yhub_holds_v1;
