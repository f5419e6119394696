"""The mouth that belongs to a sound: what both programs know of it. Pure numpy."""
