"""In front of the library of this name: it counts as not installed."""

raise ModuleNotFoundError("not installed, as far as this test goes")
