"""Source `audio2face`: an NVIDIA Audio2Face-3D service generates the motion for speech from other sources."""
