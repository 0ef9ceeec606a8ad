-- Notices are of use for minutes only.
DROP TABLE yhub_notices_v1;
