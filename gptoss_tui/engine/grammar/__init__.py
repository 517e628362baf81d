"""Text that has to follow a grammar, as masks over token ids: the one place of the engine that knows what tokens spell.

Nothing here is imported before a request brings a grammar: the vocabulary, the library's tables and the masks of whole
texts take memory and about two seconds to make.
"""
