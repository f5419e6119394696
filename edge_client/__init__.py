"""The device's program: receives a conversation from the relay, plays its sound and draws its face in lip-sync."""
