"""From listed files to a prepared dataset."""
