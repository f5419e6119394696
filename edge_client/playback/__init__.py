"""From media to what is heard and seen: the playback engine and its parts, pure but for their locks."""
