"""Runs and training jobs: start, look, stop, wait."""
