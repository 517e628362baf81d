"""Shell commands of the model and of the user: parsing them, sandboxing them, and reading their output."""
