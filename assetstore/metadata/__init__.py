"""Reads the metadata embedded in originals, in separate processes. `service.py` is the entry point."""
