"""Drills on real training jobs."""
