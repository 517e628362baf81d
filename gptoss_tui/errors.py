"""Every error that a person can meet.

GptOssError
├── UsageError             the command line or the settings are wrong
│   └── GrammarError       a schema or grammar that cannot be enforced
├── CheckpointError        a model's files are missing, damaged or of another shape
├── ModelNotFoundError     no model of that name or at that path
├── DownloadError          fetching a model failed; what arrived is kept
├── MemoryPlanError        the model cannot fit in the memory of this machine
├── EngineError            the engine refused or failed
│   ├── WrongResultsError      the device computes something else than it should
│   ├── EngineDiedError    the worker process is gone; the conversation is kept
│   └── ContextOverflowError   the prompt is longer than the context
├── VocabularyError        the vocabulary file is missing or damaged
├── HarmonyError           a conversation cannot be rendered
├── PatchError             a patch was refused; nothing was changed
├── UndoError              edits cannot be taken back or made again; nothing was changed
├── ToolError              a tool call failed; the text goes to the model
├── PolicyError            rules about approvals cannot be read or kept; nothing is allowed by them
└── SessionError           a session file cannot be read or written
"""

from __future__ import annotations


class GptOssError(Exception):
    """Base of all errors that are shown to people.

    The message says what happened and what was kept; `hint` says what to do next.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(GptOssError):
    """The command line or the settings are wrong."""


class GrammarError(UsageError):
    """A JSON schema, regular expression or grammar is wrong, or says what cannot be enforced."""


class CheckpointError(GptOssError):
    """A model's files are missing, damaged or of another shape than its config says."""


class ModelNotFoundError(GptOssError):
    """There is no model of that name or at that path."""


class DownloadError(GptOssError):
    """Fetching a model failed; what arrived is kept and is used by the next try."""


class MemoryPlanError(GptOssError):
    """The model cannot fit in the memory of this machine; nothing was loaded."""


class EngineError(GptOssError):
    """The engine refused a request or failed at it."""


class WrongResultsError(EngineError):
    """The device computes something else than it should, as a check before the first request found."""


class EngineDiedError(EngineError):
    """The worker process is gone. The conversation is kept; the engine can be restarted."""


class ContextOverflowError(EngineError):
    """The prompt is longer than the model's context."""


class VocabularyError(GptOssError):
    """The vocabulary file is missing or damaged."""


class HarmonyError(GptOssError):
    """A conversation cannot be rendered to tokens."""


class PatchError(GptOssError):
    """A patch was refused; nothing was changed on disk."""


class UndoError(GptOssError):
    """Edits cannot be taken back or made again; nothing was changed on disk."""


class ToolError(GptOssError):
    """A tool call failed. The message is written for the model that made the call."""


class PolicyError(GptOssError):
    """Rules about approvals cannot be read or kept. Until it is mended no rule allows anything."""


class SessionError(GptOssError):
    """A session file cannot be read or written."""
