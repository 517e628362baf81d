"""The app: themes, the chat screen, and the parts it is given. Importing this imports no model code."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from platformdirs import user_state_path
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from gptoss_tui.engine.types import Engine, LoadProgress
from gptoss_tui.harmony.messages import Effort
from gptoss_tui.tui.controllers.loading import Backend, ModelLoader
from gptoss_tui.tui.history import PromptHistory
from gptoss_tui.tui.keyboard import register_alt_keys
from gptoss_tui.tui.screens.chat import ChatScreen
from gptoss_tui.tui.theme import DARK, THEMES, Palette

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.settings import Settings

THEME_VARIABLE = "GPTOSS_TUI_THEME"


class GptOssApp(App[int]):
    """Chat with a gpt-oss model on this machine."""

    TITLE = "gptoss-tui"
    CSS_PATH = "styles/chat.tcss"
    PAUSE_GC_ON_SCROLL = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True),
        Binding("ctrl+p", "command_palette", "Commands and themes", id="app.palette", priority=True),
    ]

    def __init__(
        self,
        backend: Backend,
        *,
        prompt: str | None = None,
        effort: Effort = "medium",
        workspace: str = "",
        history_path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        show_pages: bool = False,
    ) -> None:
        register_alt_keys()
        if not os.environ.get("NO_COLOR"):
            os.environ.pop("NO_COLOR", None)  # an empty one asks for nothing, but Textual takes it for a yes
        super().__init__()
        self._backend = backend
        self._prompt = prompt
        self._effort = effort
        self._workspace = workspace
        self._history_path = history_path
        self._clock = clock
        self._show_pages = show_pages
        for theme in THEMES:
            self.register_theme(theme)
        wanted = os.environ.get(THEME_VARIABLE, DARK.name)
        self.theme = wanted if wanted in self.available_themes else DARK.name

    def get_default_screen(self) -> Screen[object]:
        """The chat, with its palette from the theme in use."""
        self._chat = ChatScreen(
            loader=self._make_loader,
            history=PromptHistory(self._history_path),
            clock=self._clock,
            palette=self._palette(),
            workspace=self._workspace,
            effort=self._effort,
            prompt=self._prompt,
            show_pages=self._show_pages,
        )
        return self._chat  # type: ignore[return-value]

    def on_mount(self) -> None:
        """Follow theme changes."""
        self.theme_changed_signal.subscribe(self, self._theme_changed)

    async def on_unmount(self) -> None:
        """End the engine with the app."""
        await self._chat.close()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        yield SystemCommand("Theme", "Choose the colours", self.action_change_theme)
        yield SystemCommand("New conversation", "Forget this one and start another", self._chat.action_new_conversation)
        yield SystemCommand("Reasoning", "Show or hide the chain of thought", self._chat.action_toggle_reasoning)
        yield SystemCommand("Effort", "The next reasoning effort: low, medium, high", self._chat.action_cycle_effort)
        yield SystemCommand("Keys", "All keys", self._chat.action_help)
        yield SystemCommand("Quit", "End the app and the model", self.exit)

    def _make_loader(self, on_progress: Callable[[LoadProgress], None]) -> ModelLoader:
        return ModelLoader(self._backend, on_progress)

    def _palette(self) -> Palette:
        return Palette.from_variables(self.get_css_variables(), dark=self.current_theme.dark)

    def _theme_changed(self, theme: Theme) -> None:
        self._chat.use_palette(self._palette())


class LocalBackend:
    """The embedded engine and the agent, made from the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def connect(self) -> Engine:
        """The client of the engine's worker. Raises ModelNotFoundError.

        The first frame is out, so the garbage collector works again, without what the start has left for good.
        """
        gc.freeze()
        gc.enable()
        from gptoss_tui.engine.worker.client import EngineClient

        return EngineClient(self._settings.engine_spec())

    def build_agent(self, engine: Engine) -> AgentPort:
        """The agent on `engine`, with the tokenizer."""
        from gptoss_tui.agent.factory import build_agent
        from gptoss_tui.harmony.tokenizer import load_tokenizer

        return build_agent(self._settings, engine, load_tokenizer())


def run_app(settings: Settings, prompt: str | None = None) -> int:
    """Open the app and return its exit code. `prompt` is the first message."""
    app = GptOssApp(
        LocalBackend(settings),
        prompt=prompt,
        effort=settings.reasoning_effort,
        workspace=str(settings.workspace),
        history_path=user_state_path("gptoss-tui") / "history.jsonl",
        show_pages=settings.show_browser_results,
    )
    return app.run() or app.return_code or 0
