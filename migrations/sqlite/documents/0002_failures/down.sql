-- The streams that were set aside stay in the log, but nobody reads them any more: release them first.
DROP TABLE yhub_quarantines_v1;
DROP TABLE yhub_failures_v1;
