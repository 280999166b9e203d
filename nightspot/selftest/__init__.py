"""Asks a real AWS account about the facts that the product rests on, for cents, and leaves nothing there."""
