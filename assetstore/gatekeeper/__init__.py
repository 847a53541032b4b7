"""The gatekeeper: lets nginx send private thumbnails nearly as quickly as public ones.

Each token has to be computed to be checked, which nginx cannot do. But most requests of a gallery need no more than
that: the token is right, and the thumbnail is there. A process of its own answers these, in one thread and without
anything that they do not need, with the same headers as the server. It says yes or "not modified"; whatever it does
not understand at once, refuses or does not find, nginx asks the server about, which does all the rest: refusals
and their log, pictures to be made, every other route. `deploy/nginx.conf` shows how the two meet (EDIT 5).

`judging` decides and words the answer, `memory` remembers it, and `listening` is the loop around both.
"""
