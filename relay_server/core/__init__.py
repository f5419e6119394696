"""The relay's pure logic: conversations, device sessions, outboxes, and the registry of connected peers."""
