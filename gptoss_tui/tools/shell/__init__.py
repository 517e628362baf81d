"""Commands of the model and of the person: what they are made of, what holds them, and what they print."""
