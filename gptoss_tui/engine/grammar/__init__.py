"""Text that must follow a grammar, as masks over token ids. Only this part of the engine knows how tokens are spelled.

Nothing here is imported before a request has a grammar: the vocabulary, the library's tables and the masks of whole
texts take memory and about two seconds to build.
"""
