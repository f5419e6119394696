"""The relay: takes conversations from publishers and streams them to devices, and the publisher's library."""
