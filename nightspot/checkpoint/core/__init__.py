"""The machinery of the checkpoint library."""
