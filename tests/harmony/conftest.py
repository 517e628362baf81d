"""The real tokenizer, loaded once."""

from __future__ import annotations

import pytest

from gptoss_tui.harmony.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return load_tokenizer()
