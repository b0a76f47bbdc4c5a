"""Where the files of an image come from: the engine, a registry, an OCI layout or archive, a wheel, a directory, a file.

Each source gives the image's configuration and its layers, or its files outright; none of them knows what is looked
for in them.
"""
