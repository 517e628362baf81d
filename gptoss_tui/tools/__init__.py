"""The tools that the model can call. Each tool has its own declaration, effect and run, and can be used on its own."""
