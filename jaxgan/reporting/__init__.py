"""What a run leaves for people to read: the metrics log, figures, the report page."""
