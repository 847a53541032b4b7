"""Who may do what: the tokens of the clients, those of the status page, and the key that signs them."""
