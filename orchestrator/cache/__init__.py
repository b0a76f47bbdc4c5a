"""What is kept between builds: what a build context holds, the key of a variant's content, and why a step ran again.

Depends on bake, matrix, dockerfile, registry and engine; does not depend on how variants are run.
"""
