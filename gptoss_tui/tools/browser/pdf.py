"""Extracts the text of a PDF, page by page."""

from __future__ import annotations

import io

from gptoss_tui.errors import ToolError

MAX_PAGES = 300


def read_pdf(data: bytes) -> tuple[str, str]:
    """Return title and text, pages headed `[Page 3]`. Raises ToolError if the PDF is damaged, locked or has no text."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ToolError("The PDF needs a password.")
        pages = len(reader.pages)
        texts = [(number + 1, reader.pages[number].extract_text()) for number in range(min(pages, MAX_PAGES))]
        title = str(reader.metadata.title or "") if reader.metadata else ""
    except ToolError:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        # The library can fail on damaged files in many ways, and each of its helpers has its own exceptions.
        raise ToolError(f"The PDF cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
    if not any(text.strip() for _, text in texts):
        raise ToolError("The PDF has no text, only pictures.")
    parts = [f"[Page {number}]\n{text.strip()}" for number, text in texts]
    if pages > MAX_PAGES:
        parts.append(f"[{pages - MAX_PAGES} more pages are not shown]")
    return " ".join(title.split()), "\n\n".join(parts)
