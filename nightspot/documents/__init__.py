"""What a document of AWS, a tool or a log is, and the training jobs and failures inside it."""
