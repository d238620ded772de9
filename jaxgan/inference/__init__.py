"""From a checkpoint to samples and files."""
