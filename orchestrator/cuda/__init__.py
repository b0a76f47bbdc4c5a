"""CUDA architectures as pure values: names, toolkits, what a toolkit compiles, what an image serves.

No I/O, no process, no import of another package. Its errors are subclasses of ValueError, which the packages above
turn into messages with a place.
"""
