"""Numbers and nothing else: numpy in, plain numbers out."""
