"""Networks that see what a pixel distance does not, and their weights."""
