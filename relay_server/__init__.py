"""The relay: receives conversations from publishers and streams them to devices."""
