"""Small helpers for GLES 3.0, and the shaders."""
