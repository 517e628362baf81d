"""What the user can do about a limit that ended a turn, in the words of a conversation.

A front end where nobody can answer in the conversation replaces them by its own words.
"""

from __future__ import annotations

from typing import Final

NO_ROOM: Final = "summarise it (/compact), start a new conversation, or use a larger --context"
NO_TOKENS: Final = "say `continue`"
LOOP: Final = "say `continue`, or ask for something else"
TOO_MANY_CALLS: Final = "say `continue` to let it go on, or raise max_tool_calls in the settings"
SAME_CALL: Final = "say what it should do instead"
SAME_RESULT: Final = "say `continue` to let it go on, or what it should do instead"
