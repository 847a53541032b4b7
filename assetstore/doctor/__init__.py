"""Checks a server, and explains each problem, its effect on users of Specify, and the remedy.

There is one module per topic, each with a few small checks that yield findings. `settings_check`, `store`, `clock`,
`tools` and `network` check this machine. `address`, `specify` and `proxy` send requests to a server as Specify does
(`client_simulation`), and delete what they upload. The checks repair nothing and leave nothing behind.
"""
