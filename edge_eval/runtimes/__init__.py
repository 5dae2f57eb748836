"""The runtimes that can run a network; `table.py` has them all."""
