"""Tests that take too long, or need more programs, than those in `tests/`: `script/acceptance NAME`."""
