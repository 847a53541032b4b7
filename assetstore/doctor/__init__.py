"""Checks a server and explains what is wrong, what that means for a curator, and what to do about it.

There is one module per topic, each with a few small checks that yield findings. `settings_check`, `store`, `clock`,
`tools` and `network` examine this machine. `address`, `specify` and `proxy` talk to a server as Specify does
(`client_simulation`), and delete what they upload. The checks repair nothing and leave nothing behind.
"""
