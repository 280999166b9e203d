"""Nightly SageMaker training on managed Spot that is ready by the deadline."""

__version__ = "0.1.0"
