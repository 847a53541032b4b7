"""Where the formats keep their metadata: each module finds the blocks of EXIF, XMP and IPTC in one family of files."""
