"""The adapters to AWS: training jobs, the run table, checkpoints, prices and notices."""
