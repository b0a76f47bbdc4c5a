"""Runs many variants: order, failures, retries, journal, report. Does not depend on how they are shown."""
