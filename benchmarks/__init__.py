"""Measures what the template and its repositories cost, side by side with the alternatives."""

NAMES = (
    "generation",
    "install",
    "build",
    "dev_loop",
    "deploy",
    "sync",
    "reconcile",
    "neighbours",
    "real_data",
    "local_servers",
    "page",
    "tests",
)
"""The benchmarks in the order of RESULTS.md. Each is a module with `run(size) -> list[Row]`."""
