"""Trials that need more than one machine's worth of services, and so are no part of the tests."""
