"""Running one variant: the bake file, the preflight, the process and what it says. It knows of no other variant."""
