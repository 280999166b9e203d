"""What the HTTP API says: its routes, the bodies of its requests and answers, and how it refuses."""
