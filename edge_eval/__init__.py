"""Runners, the Core ML emulator, metrics, benchmarks, reports, and the command line."""
