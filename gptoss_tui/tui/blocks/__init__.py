"""The blocks of the transcript, one kind per file. A block is data that can draw itself as strips."""
