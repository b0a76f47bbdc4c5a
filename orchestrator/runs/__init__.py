"""Running many variants: order, keeping going, retries, journal, disk. It must not know how things are shown."""
