"""Finds the blocks of EXIF, XMP and IPTC in files: one module for each family of formats."""
