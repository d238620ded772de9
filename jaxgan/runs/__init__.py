"""What lies in a run's folder, and how it is read back."""
