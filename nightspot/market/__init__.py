"""Spot markets as numbers: what traces say, what a generator makes of them, and what nobody could beat."""
