"""CUDA architectures as pure values: names, toolkits, what a toolkit compiles, what an image serves.

The ground floor: no I/O, no process, no import of another room. Its errors are subclasses of ValueError of its own,
which the rooms above turn into messages with a place.
"""
