"""Patches that are held to their files: what fits is allowed, what does not is not, however it is cut into tokens."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui import patch
from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.engine.grammar.lines import begin, run
from gptoss_tui.engine.grammar.matcher import open_matcher
from gptoss_tui.engine.grammar.patch import PatchMatcher, PatchScript, State
from gptoss_tui.engine.grammar.tokens import token_table
from gptoss_tui.errors import PatchError
from gptoss_tui.harmony.tokenizer import Tokenizer, load_tokenizer

LINES = ["import os", "", "def f():", "    return 1", "", "def g():", "    return 1", "# é"]
FILES = {"a.py": LINES, "dir/b.txt": ["one"], "image.png": None}
SPEC = json.dumps({"paths": ["a.py", "a.pyi", "dir/b.txt", "image.png"], "files": FILES})


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


def update(body: str, path: str = "a.py") -> str:
    return f"*** Begin Patch\n*** Update File: {path}\n{body}*** End Patch"


GOOD = [
    update("@@\n def f():\n-    return 1\n+    return 2\n"),
    update("@@ def g():\n-    return 1\n+    return 2\n \n-# \u00e9\n").replace(" \n-# \u00e9\n", "-# \u00e9\n"),
    update(" import os\n\n+x\n def f():\n"),
    update("+first\n"),
    update("*** Move to: c.py\n"),
    update("*** Move to: c.py\n@@\n-# \u00e9\n+# e\n*** End of File\n"),
    update("@@\n-import os\n@@ class C:\n@@ def g():\n-    return 1\n+\n"),
    update("@@\n anything, its lines are not known\n-x\n", "image.png"),
    "*** Begin Patch\n*** Add File: new.py\n+a\n+\n*** Delete File: dir/b.txt\n*** Add File: empty\n*** End Patch\n",
    '{"input": "*** Begin Patch"}',
    "no patch at all",
]
BAD = [
    update("@@\n def h():\n"),
    update("@@\n def f():\n def g():\n"),
    update("@@\n-    return 2\n"),
    update("@@\n # \u00e9\n+x\n \n"),
    update(""),
    update("+x\n", "b.txt"),
    update("+x\n", "/a.py"),
    "*** Begin Patch\n*** Delete File: a\n*** End Patch",
    "*** Begin Patch\n*** Add File: a.py\n+x\n*** End Patch",
    "*** Begin Patch\n*** Add File: c\nx\n*** End Patch",
    "*** Begin Patch\n*** End Patch",
    "*** Begin Patch\n*** Add File: c\n+x\n*** End Patch\nmore",
    update("@@\n-import os\n*** End of File\n+x\n"),
]


def is_allowed(text: str, tokens: list[int]) -> bool:
    """Whether every token is in the mask where it stands, and the text may end behind them."""
    matcher = PatchMatcher(text)
    for token in tokens:
        if not matcher.mask()[token >> 3] >> (token & 7) & 1:
            return False
        matcher.advance(token)
    return matcher.complete


@pytest.mark.parametrize("text", GOOD)
def test_what_fits_is_allowed(tokenizer: Tokenizer, text: str) -> None:
    assert is_allowed(SPEC, tokenizer.encode(text))


@pytest.mark.parametrize("text", BAD)
def test_what_does_not_fit_is_not(tokenizer: Tokenizer, text: str) -> None:
    assert not is_allowed(SPEC, tokenizer.encode(text))


@pytest.mark.parametrize("text", GOOD + BAD)
def test_it_does_not_matter_how_a_text_is_cut(tokenizer: Tokenizer, text: str) -> None:
    ids = {piece: token for token, piece in enumerate(token_table().pieces)}
    data, source = text.encode(), random.Random(text)
    for _ in range(3):
        tokens, at = [], 0
        while at < len(data):
            ends = [end for end in range(at + 1, min(at + 12, len(data)) + 1) if data[at:end] in ids]
            end = source.choice(ends)
            tokens.append(ids[data[at:end]])
            at = end
        assert is_allowed(SPEC, tokens) == (text in GOOD)


def test_a_mask_is_what_the_bytes_of_each_token_say(tokenizer: Tokenizer) -> None:
    """The walk through the sorted tokens against asking every token by itself, at every place of a patch."""
    script, table = PatchScript(SPEC), token_table()
    for text in (GOOD[0], GOOD[2], GOOD[8]):
        matcher, place = PatchMatcher(SPEC), begin(script, State("begin"))
        for token in tokenizer.encode(text)[:24]:
            following = run(script, place, table.pieces[token])
            assert following is not None
            matcher.advance(token)
            place = following
            mask = matcher.mask()
            sample = [*range(0, len(table.pieces), 997), *(t for _, ts in _newlines(table.behind_newline) for t in ts)]
            for each in sample:
                assert bool(mask[each >> 3] >> (each & 7) & 1) == (run(script, place, table.pieces[each]) is not None)


def _newlines(groups: dict[bytes, list[tuple[bytes, int]]]) -> list[tuple[bytes, list[int]]]:
    return [(rest, [token for _, token in tokens[:9]]) for rest, tokens in groups.items()]


def refusal(text: str, root: Path) -> str | None:
    try:
        patch.plan(patch.parse(text), root)
    except PatchError as error:
        return error.message
    return None


_TEXT = st.sampled_from(["", "a", "b", "  a", "a b", "x = 1"])


@given(lines=st.lists(_TEXT, min_size=1, max_size=7), seed=st.integers(0, 1 << 30))
@settings(max_examples=150, deadline=None)
def test_whatever_it_lets_through_stands_in_the_file(
    lines: list[str], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Lines that were drawn from what is allowed have a place: what can be wrong is only that there are more."""
    root = tmp_path_factory.mktemp("root")
    (root / "f").write_text("".join(f"{line}\n" for line in lines))
    script = PatchScript(json.dumps({"paths": ["f"], "files": {"f": lines}}))
    source = random.Random(seed)
    place = run(script, begin(script, State("begin")), b"*** Begin Patch\n*** Update File: f\n@@\n")
    body = []
    for _ in range(source.randint(1, 6)):
        assert place is not None
        old = [line for line in place.choice.whole if line[:1] in (b" ", b"-")]
        body.append(source.choice([*old, b"+new"]))
        place = run(script, place, body[-1] + b"\n")
    text = update("@@\n" + "".join(f"{line.decode()}\n" for line in [*body, b"+last"]), "f")
    problem = refusal(text, root)
    assert problem is None or "places, at lines" in problem or "only adds lines" in problem


def test_nothing_is_known_before_somebody_says_it(tokenizer: Tokenizer) -> None:
    matcher = open_matcher(Grammar("patch", ""))
    assert matcher.waits
    assert not matcher.complete
    matcher = open_matcher(Grammar("patch", json.dumps({"paths": ["a.py"], "files": {}})))
    for token in tokenizer.encode("*** Begin Patch\n*** Update File: a.py\n"):
        assert not matcher.waits
        matcher.advance(token)
    assert matcher.waits
    assert matcher.mask().count(0) == len(matcher.mask())


def test_where_files_cannot_be_listed_every_path_may_be_named(tokenizer: Tokenizer) -> None:
    text = json.dumps({"paths": None, "files": {"z.py": None}})
    assert is_allowed(text, tokenizer.encode(update("-x\n", "z.py")))
    assert is_allowed(
        text, tokenizer.encode("*** Begin Patch\n*** Delete File: q\n*** Add File: z.py\n+1\n*** End Patch")
    )
