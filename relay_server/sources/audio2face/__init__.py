"""Source `audio2face`: an NVIDIA Audio2Face-3D service makes the motion for speech that our own sources make or read."""
