"""Metadata that is embedded in originals, as plain groups of names and values."""
