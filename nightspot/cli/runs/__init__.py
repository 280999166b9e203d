"""Commands on runs: list, show, watch, logs, stop, retry, start."""
