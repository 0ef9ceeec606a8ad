-- Without its hold a room may be erased, and without its receipt nobody can show that it was.
DROP TABLE yhub_duties_v1;
DROP TABLE yhub_deletion_receipts_v1;
DROP TABLE yhub_erased_rows_v1;
DROP TABLE yhub_holds_v1;
