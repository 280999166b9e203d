"""What the pages say that a run, a month and all jobs leave for people to read."""
