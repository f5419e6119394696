"""Source of recorded motion: files of face capture, of Audio2Face and of viseme services, beside a sound file."""
