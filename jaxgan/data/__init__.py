"""From a user's files to batches on the device."""
