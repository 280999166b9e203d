"""What happens next, and why."""
