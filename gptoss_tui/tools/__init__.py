"""What the model can call. Each tool states its declaration, its permission and its run, and can be used alone."""
