"""What the product believes of AWS: what rests on each fact, which answers are safe, how well it is known."""
