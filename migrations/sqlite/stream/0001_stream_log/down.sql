DROP TABLE stream_probe;
DROP TABLE stream_tasks;
DROP TABLE stream_entries;
DROP TABLE stream_rooms;
PRAGMA application_id = 0;
