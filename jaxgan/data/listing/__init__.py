"""What a source contains: its files, archives, slides, their classes."""
