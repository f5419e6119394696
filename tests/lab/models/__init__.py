"""Models as other programs export them, made of the built-in head: for the import of heads."""
