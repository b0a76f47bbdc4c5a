"""Where the files of an image come from: engine, registry, OCI layout or archive, wheel, directory, single file.

Each source gives the image's configuration and its layers, or its files outright; none of them knows what is looked
for in them.
"""
