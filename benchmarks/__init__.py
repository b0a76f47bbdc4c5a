"""Speed as ratios against something real, each measured in one run: `python -m benchmarks.plan`, and so on."""
