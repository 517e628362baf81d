"""Tools of other programs through the Model Context Protocol, from servers that the user set up in `mcp.json`."""
