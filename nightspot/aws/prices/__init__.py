"""What machines cost, and which quotas there are."""
