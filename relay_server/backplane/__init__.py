"""What relays tell each other through: messages by subject. One relay alone has none, and imports nothing of this."""
