"""Whether a training that was killed and resumed is still the same training."""
