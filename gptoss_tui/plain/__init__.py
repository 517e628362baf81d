"""The app as lines of text: for screen readers, simple terminals and pipes. Nothing moves and nothing is drawn."""
