"""Whether Spot is right for a job: five filters, the other ways to buy its machines, and a worked month."""
