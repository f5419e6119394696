"""`edge-client calibrate`: measures a sound card's delay beyond what its driver reports; a person compares clicks with the mouth."""
