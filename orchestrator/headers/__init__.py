"""FlashInfer bundles: what FlashInfer downloads at run time, locked, fetched, carried, placed and proven beforehand.

This room knows FlashInfer's pins, manifests and layouts, a content-addressed store, and how a bundle becomes a build
context. It must not know how an image is built: it hands over a directory, arguments and reasons, and the rooms above
put them into a bake file.
"""
