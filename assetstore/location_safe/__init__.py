"""Location-safe copies of pictures: without GPS, serial numbers and anything else that is not known to be safe."""
