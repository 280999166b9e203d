"""What a run did cost."""
