"""The loop, and what it asks and writes down."""
