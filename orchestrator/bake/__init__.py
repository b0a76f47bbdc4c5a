"""Runs one variant: its bake file, its preflight, its process and what that says. Does not depend on other variants."""
