"""A whole run on this machine: workflow, functions, clock."""
