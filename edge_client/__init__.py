"""The device's program: takes a conversation from the relay, plays its sound and draws its face in lip-sync."""
