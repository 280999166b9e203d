"""What an error means, and what a run does about it."""
