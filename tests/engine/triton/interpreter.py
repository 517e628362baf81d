"""Makes Triton's interpreter quicker: what it works out again and again is worked out once. What it computes stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import triton.language as tl
from triton.runtime import interpreter


def quicken() -> None:
    """A third of the time of a test is left. For the whole process."""
    _change_the_language_once_a_launch()
    # Sums of integers are made once more in 64 bits and compared, and what comes of it is dropped unless one debugs.
    options = interpreter.interpreter_builder.options
    if not options.debug:
        interpreter.interpreter_builder.options = replace(options, sanitize_overflow=False)
    interpreter._get_np_dtype = _remembered(interpreter._get_np_dtype)
    _remember_made(tl.block_type, lambda element, shape: (element.name, *(tl.constexpr(size).value for size in shape)))
    _remember_made(tl.tensor, lambda handle, type: (type.__class__, type.name), ("handle", "type"))


def _change_the_language_once_a_launch() -> None:
    """Instead of at each call of a function."""
    patch, launch = interpreter._patch_lang, interpreter.GridExecutor.__call__
    done: set[frozenset[int]] = set()

    def patch_lang(fn: Any) -> Any:
        key = frozenset(id(value) for value in fn.__globals__.values() if value is tl or value is tl.core)
        if key in done:
            return interpreter._LangPatchScope()
        done.add(key)
        return patch(fn)

    def call(self: Any, *args: Any, **options: Any) -> Any:
        done.clear()
        return launch(self, *args, **options)

    interpreter._patch_lang, interpreter.GridExecutor.__call__ = patch_lang, call


def _remembered(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`find`, a function of a type, which is known by its name."""
    known: dict[str, Any] = {}

    def found(of: Any) -> Any:
        if of.name not in known:
            known[of.name] = find(of)
        return known[of.name]

    return found


def _remember_made(cls: Any, key: Callable[..., Any], own: tuple[str, ...] = ()) -> None:
    """Let objects of `cls` that are made from arguments of the same `key` share all attributes but their `own`."""
    make = cls.__init__
    known: dict[Any, dict[str, Any]] = {}

    def made(self: Any, *args: Any) -> None:
        attributes = known.get(of := key(*args))
        if attributes is None:
            make(self, *args)
            known[of] = dict(self.__dict__)
        else:
            self.__dict__.update(attributes)
            self.__dict__.update(zip(own, args, strict=False))

    cls.__init__ = made
