"""Says which version of this library wrote a checkpoint."""

# A constant of its own: the package metadata is missing where only this folder was copied into an
# image, and nightspot/__init__.py is not this package's to import. A test keeps the two equal.
LIBRARY_VERSION = "0.1.0"
