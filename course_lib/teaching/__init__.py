"""What the notebooks show and check."""
