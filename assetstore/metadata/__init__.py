"""Metadata that is embedded in originals, read in processes of its own (`service.py` is the way in)."""
