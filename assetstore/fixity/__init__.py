"""Fixity: whether originals still have the content that was stored.

`verification` compares them with the checksums in the journal, `schedule` runs verifications in the background, and
`unjournaled` uses the trash to find changes that are missing from the journal.
"""
