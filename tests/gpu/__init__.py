"""Predictions against a real GPU: run by hand on a machine that has one, replayed by the unit tests from its record."""
