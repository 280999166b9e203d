"""Looks at all that a run needs in an account."""
