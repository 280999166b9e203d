"""The runs' table."""
