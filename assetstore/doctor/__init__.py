"""Examines a server: what is wrong, what that means for a curator, and what to do about it.

One module per theme, each a few small checks that yield findings. `configured`, `store`, `clock`,
`tools` and `network` look at this machine; `address`, `specify` and `proxy` talk to a server as
Specify does, and remove what they have uploaded. Nothing is repaired, and nothing is left behind.
"""
