-- Drops the tables of all documents, also those that y/hub made. No command of yhub runs this. Whoever does must have
-- emptied them: a table with rows in it is refused.
DO $$ BEGIN
    IF EXISTS (SELECT FROM yhub_ydoc_v1) OR EXISTS (SELECT FROM yhub_ydoc_tombstones_v1) THEN
        RAISE EXCEPTION 'there are documents or tombstones in the database; they are not dropped with their tables';
    END IF;
END $$;
DROP TABLE yhub_room_epochs_v1;
DROP TABLE yhub_ydoc_tombstones_v1;
DROP TABLE yhub_ydoc_v1;
