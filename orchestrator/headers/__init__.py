"""FlashInfer bundles: what FlashInfer downloads at run time, locked, fetched, carried, placed and proven beforehand.

Covers FlashInfer's pins, manifests and layouts, a content-addressed store, and how a bundle becomes a build context.
Does not depend on how an image is built: it gives a directory, arguments and reasons, which packages above put into a
bake file.
"""
