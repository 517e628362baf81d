"""The terminal below the toolkit: what it sends, what it is asked, how it calls a person."""
