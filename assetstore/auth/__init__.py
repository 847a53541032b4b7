"""Authentication: the tokens of clients and of the status page, and the key that signs them."""
