"""The user's file: its schema, loading with positions, and the variants that it expands to."""
