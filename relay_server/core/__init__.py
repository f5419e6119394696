"""The rules of the relay, pure: conversations, sessions of devices, what waits for each, and who is connected."""
