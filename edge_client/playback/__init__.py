"""From media to sound and poses: the playback engine and its parts, pure except for their locks."""
