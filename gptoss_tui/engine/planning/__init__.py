"""What this machine has, what a model needs of it, and which backend is the fastest here."""
