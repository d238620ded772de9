"""One file a command of the command line, and what they share."""
