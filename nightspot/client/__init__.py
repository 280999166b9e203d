"""What a notebook and a program use: `from nightspot import Client, Job` (docs/python.md)."""
