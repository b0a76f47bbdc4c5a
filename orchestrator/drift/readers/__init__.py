"""One reader for each kind of file. Each turns a text into places (`Found`); none knows the matrix or the disk."""
