"""Fixity: `verification` compares originals with their checksums, `schedule` runs it in the background, and
`unjournaled` adds originals to the journal that are missing from it.
"""
