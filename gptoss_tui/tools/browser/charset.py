"""Decodes a page by its byte order mark, the server's charset, the page's own declaration or a guess, in this order."""

from __future__ import annotations

import codecs
import re

_META = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w:.-]{1,40})", re.IGNORECASE)
_XML = re.compile(rb"\A\s{0,100}<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w:.-]{1,40})[\"']")
_LOOKED_AT = 4096
_GUESSED_FROM = 1 << 16
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

# Python has codecs that the web does not use (utf-7, punycode, unicode_escape). Some are slow, or read plain text as
# something else.
_WEB = re.compile(
    r"utf-8|utf-16(-[lb]e)?|ascii|cp125\d|cp866|cp874|cp932|cp949|iso8859-\d+|koi8-[ru]|mac-(roman|cyrillic)"
    r"|gb2312|gbk|gb18030|big5(hkscs)?|shift_jis|euc_(jp|kr)|iso2022_jp|tis-620"
)


def decode(data: bytes, declared: str = "") -> str:
    """Decode `data`. `declared` is the charset of the HTTP header. Never fails: invalid bytes are replaced."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    head = data[:_LOOKED_AT]
    for label in (
        declared,
        *(found[1].decode("ascii", "replace") for found in (_XML.match(head), _META.search(head)) if found),
    ):
        if name := _codec(label):
            # A page whose declaration is readable as ASCII is not in UTF-16, whatever it declares.
            return data.decode("utf-8" if name.startswith("utf-16") and label != declared else name, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_guess(data[:_GUESSED_FROM]), "replace")


def _codec(label: str) -> str:
    """The codec that a browser uses for a charset label; empty for one that the web does not use."""
    try:
        name = codecs.lookup(label.strip()).name if label else ""
    except (LookupError, ValueError):
        return ""
    if name in ("iso8859-1", "ascii"):
        return "cp1252"
    return name if _WEB.fullmatch(name) else ""


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data, cp_isolation=None, enable_fallback=False).best()
    return (_codec(best.encoding) if best is not None else "") or "cp1252"
