DROP TABLE yhub_room_epochs_v1;
DROP TABLE yhub_ydoc_tombstones_v1;
DROP TABLE yhub_ydoc_v1;
PRAGMA application_id = 0;
