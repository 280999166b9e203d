"""What is sent: events, topics, reports."""
