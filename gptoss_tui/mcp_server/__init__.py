"""Our tools and agent for other programs: a server of the Model Context Protocol."""
