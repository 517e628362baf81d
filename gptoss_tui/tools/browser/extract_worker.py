"""The process that parses one untrusted document: `python -m gptoss_tui.tools.browser.extract_worker`.

Stdin: a frame with what is known about the document, then its bytes. Stdout: one frame per result. A frame is a length
of four bytes and JSON. The process has limited memory and time, cannot write files, and ends after one document.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from typing import Any

from gptoss_tui.tools.bounds import limit_this


def main() -> None:
    """Read the document on stdin."""
    limit_this()
    logging.disable()
    from gptoss_tui.errors import ToolError
    from gptoss_tui.tools.browser.extract import read_document

    data = sys.stdin.buffer.read()
    length = int.from_bytes(data[:4], "big")
    about = json.loads(data[4 : 4 + length])
    try:
        for document in read_document(data[4 + length :], about["content_type"], about["charset"], about["url"]):
            _send(dataclasses.asdict(document))
    except ToolError as error:
        _send({"error": error.message})
    except MemoryError:
        _send({"error": "The document takes too much memory to read."})


def _send(message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
