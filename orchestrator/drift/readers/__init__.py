"""Readers: one for each kind of file, from its text to the values in it and where each of them stands."""
