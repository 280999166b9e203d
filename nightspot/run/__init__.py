"""What state a run is in."""
