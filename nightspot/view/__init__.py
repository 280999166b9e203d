"""How a person reads it who gets it sent."""
