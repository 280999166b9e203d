"""How a duration, an amount, a moment, an id is written."""
