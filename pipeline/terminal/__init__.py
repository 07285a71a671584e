"""The terminal: what the commands print."""
