"""What stands in the transcript: one kind of block a file. A block is data that can draw itself as strips."""
