"""What the template and its repositories cost, measured side by side with what people would use instead."""

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
    "tests",
)
"""The benchmarks, in the order of RESULTS.md: each is a module here with `run(size) -> list[Row]`."""
