"""Running one variant: the bake file, the preflight, the process and what it says. It must not know of other variants."""
