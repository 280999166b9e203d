"""What keeps the repository itself in order; nothing of it is installed or deployed."""
