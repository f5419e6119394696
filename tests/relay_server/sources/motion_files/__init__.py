"""Tests of `relay_server.sources.motion_files`."""
