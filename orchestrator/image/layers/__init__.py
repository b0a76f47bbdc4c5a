"""Layers of an image: tar, compression, scans of one layer, their merge, and the store of scans."""
