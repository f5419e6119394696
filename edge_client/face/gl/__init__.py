"""Small helpers around GLES 3.0, and the shaders."""
