"""What a run will look like."""
