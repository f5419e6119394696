"""`edge-client calibrate`: how much later than its driver says a sound card is heard, by a person who compares clicks with the mouth."""
