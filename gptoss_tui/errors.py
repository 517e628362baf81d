"""All errors that are shown to users.

GptOssError
├── UsageError             the command line or the settings are wrong
│   └── GrammarError       a schema or grammar cannot be enforced
├── CheckpointError        a model's files are missing, damaged or do not match its config
├── ModelNotFoundError     a model is not on this machine or server
│   └── UnknownModelError  no model has that name or is at that path; also a UsageError
├── DownloadError          downloading a model failed; the partial download is kept
├── MemoryPlanError        the model does not fit in this machine's memory
├── EngineError            the engine refused a request or failed
│   ├── WrongResultsError      the device computes wrong results
│   ├── EngineDiedError    the worker process is gone; the conversation is kept
│   └── ContextOverflowError   the prompt is longer than the context
├── VocabularyError        the vocabulary file is missing or damaged
├── HarmonyError           a conversation cannot be rendered
├── PatchError             a patch was refused; nothing was changed
├── UndoError              edits cannot be undone or redone; nothing was changed
├── ToolError              a tool call failed; the message goes to the model
├── PolicyError            approval rules cannot be read or saved; they allow nothing
└── SessionError           a session file cannot be read or written
"""

from __future__ import annotations


class GptOssError(Exception):
    """Base class of all errors that are shown to users.

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
    """A JSON schema, regular expression or grammar is invalid or cannot be enforced."""


class CheckpointError(GptOssError):
    """A model's files are missing or damaged, or their shapes do not match its config."""


class ModelNotFoundError(GptOssError):
    """There is no model with that name or at that path."""


class UnknownModelError(ModelNotFoundError, UsageError):
    """The name that the user gave is not that of a model, and not a path."""


class DownloadError(GptOssError):
    """Downloading a model failed. The partial download is kept, and the next attempt resumes it."""


class MemoryPlanError(GptOssError):
    """The model does not fit in this machine's memory; nothing was loaded."""


class EngineError(GptOssError):
    """The engine refused a request or failed while serving it."""


class WrongResultsError(EngineError):
    """A check before the first request found that the device computes wrong results."""


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
    """Edits cannot be undone or redone; nothing was changed on disk."""


class ToolError(GptOssError):
    """A tool call failed. The message is written for the model that made the call."""


class PolicyError(GptOssError):
    """Approval rules cannot be read or saved. Until this is fixed, no rule allows anything."""


class SessionError(GptOssError):
    """A session file cannot be read or written."""
