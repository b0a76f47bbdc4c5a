"""Device code in files: ELF, fatbins, cubins and PTX, read forward from a stream. Depends on errors alone."""
