"""What is kept between builds.

What a build context holds, the key of a variant's content and why a step ran again; who may read and write which cache;
what the caches hold and what of it can go. Depends on bake, matrix, dockerfile, registry and engine; does not depend on
how variants are run.
"""
