"""What people read of a run: its timeline while it happens, its tables and totals afterwards."""
