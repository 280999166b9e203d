"""Parts of benchmarks/checkpoint.py, in a folder of their own so that `make bench` does not run them."""
