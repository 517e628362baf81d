"""The app: themes, keys, the chat screen and the objects they share. Importing this module imports no model code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from platformdirs import user_state_path
from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.screen import Screen
from textual.theme import Theme
from textual.timer import Timer

from gptoss_tui.tui import garbage
from gptoss_tui.tui.bindings import APP_KEYS
from gptoss_tui.tui.controllers.attention import AttentionController
from gptoss_tui.tui.controllers.loading import Backend, ModelLoader
from gptoss_tui.tui.history import PromptHistory
from gptoss_tui.tui.keyboard import register_alt_keys
from gptoss_tui.tui.keymap import Keymap, read_keymap
from gptoss_tui.tui.options import DEFAULTS, Options
from gptoss_tui.tui.screens.chat import ChatScreen
from gptoss_tui.tui.state import StateFile
from gptoss_tui.tui.terminal.attention import best_way
from gptoss_tui.tui.terminal.background import dark_from_environment
from gptoss_tui.tui.terminal.driver import TerminalColours, TerminalDriver, TerminalGone, TerminalGraphics
from gptoss_tui.tui.terminal.graphics import Graphics
from gptoss_tui.tui.theme import AUTO, THEMES, Palette, theme_named

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.engine.types import Engine, LoadProgress
    from gptoss_tui.settings import Settings
    from gptoss_tui.tui.pictures.canvas import Canvas

SETTLE_SECONDS = 0.3
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GptOssApp(App[int]):
    """Chat with a gpt-oss model on this machine."""

    TITLE = "gptoss-tui"
    CSS_PATH = "styles/chat.tcss"
    PAUSE_GC_ON_SCROLL = True
    ENABLE_COMMAND_PALETTE = False
    """The app has its own palette, built on the slash commands."""
    BINDINGS: ClassVar[list[BindingType]] = [*APP_KEYS]

    def __init__(
        self,
        backend: Backend,
        options: Options = DEFAULTS,
        *,
        clock: Callable[[], float] = time.monotonic,
        hardware: Callable[[], str] | None = None,
    ) -> None:
        register_alt_keys()
        if not os.environ.get("NO_COLOR"):
            os.environ.pop("NO_COLOR", None)  # empty means unset by convention, but Textual takes it for a yes
        super().__init__()
        self._backend = backend
        self._options = options
        self._clock = clock
        self._hardware = hardware
        self._graphics = Graphics()
        self._canvas: Canvas | None = None
        self._settling: Timer | None = None
        self._seen_size: Size | None = None
        self.saved_as = ""
        """After the app has ended: the id of the saved conversation; empty when nothing was said."""
        self.state_file = StateFile(options.state_path)
        self.keymap: Keymap = read_keymap(options.keys)
        self.attention = AttentionController(self.write_to_terminal, clock, options.notifications, options.workspace)
        self._begin_theme()

    def _begin_theme(self) -> None:
        """Choose the theme of the first frame, before the terminal has said anything about its background."""
        for known in THEMES:
            self.register_theme(known)
        remembered, wanted = self.state_file.remembered, self._options.theme
        self._chosen_theme = self._tried_theme = wanted if wanted != AUTO else remembered.theme or AUTO
        from_environment = dark_from_environment(os.environ)
        self._dark = remembered.dark if from_environment is None else from_environment
        self.theme = self._theme_named(self._chosen_theme)

    def get_driver_class(self) -> type[Driver]:
        """Return the hardened driver on Unix terminals and Textual's own choice elsewhere."""
        wanted = super().get_driver_class()
        return TerminalDriver if wanted is LinuxDriver else wanted

    def get_default_screen(self) -> Screen[object]:
        """Return the chat screen, with a palette taken from the current theme."""
        self._chat = ChatScreen(
            self._options,
            loader=self._make_loader,
            history=PromptHistory(self._options.history_path),
            clock=self._clock,
            palette=self._palette(),
            keymap=self.keymap,
            attention=self.attention,
            state_file=self.state_file,
            hardware=self._hardware,
        )
        return self._chat  # type: ignore[return-value]

    def on_mount(self) -> None:
        """Subscribe to theme changes, resumes and signals."""
        self.set_keymap(dict(self.keymap.keys))
        self.theme_changed_signal.subscribe(self, self._theme_changed)
        self.app_resume_signal.subscribe(self, self._resumed)
        self.attention.begin()
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            for number in _ENDING_SIGNALS:
                loop.add_signal_handler(number, self._leave, 128 + number)

    async def on_unmount(self) -> None:
        """Close the engine together with the app."""
        self.saved_as = self._chat.saved_as
        await self._chat.close()

    def on_app_focus(self) -> None:
        """The window got the focus."""
        self.attention.focus(True)
        self._chat.look_where()

    def on_app_blur(self) -> None:
        """The window lost the focus."""
        self.attention.focus(False)

    def on_resize(self, event: events.Resize) -> None:
        """Repaint once the size has settled: terminals move their contents while they are being resized."""
        seen, self._seen_size = self._seen_size, event.size
        if seen in (None, event.size):
            return
        if self._settling is not None:
            self._settling.stop()
        self._settling = None if self.is_headless else self.set_timer(SETTLE_SECONDS, self._settle)

    def on_terminal_colours(self, message: TerminalColours) -> None:
        """Remember whether the terminal is dark, and follow it unless the user chose a theme."""
        self._dark = message.dark
        if self.state_file.remembered.dark != message.dark:
            self.state_file.remembered.dark = message.dark
            self.state_file.save()
        if self._chosen_theme == AUTO:
            self.theme = self._theme_named(AUTO)

    def on_terminal_gone(self, message: TerminalGone) -> None:
        """Save and leave, because nobody can see the app any more."""
        self._leave(128 + signal.SIGHUP)

    def on_terminal_graphics(self, message: TerminalGraphics) -> None:
        """Remember which graphics the terminal supports."""
        self._graphics = message.graphics
        if self._canvas is not None:
            self._canvas.heard(message.graphics)

    @property
    def canvas(self) -> Canvas | None:
        """The canvas that draws figures; None when there is no terminal."""
        driver = self._driver
        if self._canvas is None and isinstance(driver, TerminalDriver) and driver.input_tty:
            from gptoss_tui.tui.pictures.canvas import Canvas

            self._canvas = Canvas(self.write_to_terminal, driver.bands, driver.cell, self._options.pictures)
            self._canvas.heard(self._graphics)
        return self._canvas

    @property
    def chosen_theme(self) -> str:
        """The theme that the user chose; `auto` for following the terminal."""
        return AUTO if self._chosen_theme == AUTO else self._theme_named(self._chosen_theme)

    def try_theme(self, name: str) -> Palette:
        """Show a theme without choosing it. Returns its palette."""
        self._tried_theme = name
        self.theme = self._theme_named(name)
        return self._palette()

    def use_theme(self, name: str) -> None:
        """Switch to another theme and remember it; `auto` follows the terminal from now on."""
        self._chosen_theme = self._tried_theme = name
        self.theme = self._theme_named(name)
        self.state_file.remembered.theme = "" if name == AUTO else name
        self.state_file.save()

    def write_to_terminal(self, text: str) -> None:
        """Write a control sequence to the terminal, if there is one."""
        driver = self._driver
        if text and isinstance(driver, TerminalDriver) and driver.input_tty:
            driver.write(text)
            driver.flush()

    def redraw(self) -> None:
        """Repaint the whole screen, for when something else has written to the terminal."""
        whole = self.screen._compositor.render_update(full=True, screen_stack=self._background_screens)
        self._display(self.screen, whole)

    async def _settle(self) -> None:
        """Repaint after a resize; the size of the cells may have changed as well."""
        self.redraw()
        if self._canvas is not None and await self._canvas.resized():
            self.redraw()

    def _resumed(self, _: object) -> None:
        self.attention.begin(again=True)
        self.call_after_refresh(self.redraw)

    def _leave(self, code: int) -> None:
        self.exit(return_code=code)

    def _make_loader(self, on_progress: Callable[[LoadProgress], None]) -> ModelLoader:
        return ModelLoader(self._backend, on_progress)

    def _palette(self) -> Palette:
        variables, dark = self.get_css_variables(), self.current_theme.dark
        return Palette.from_variables(variables, dark=dark, few_colours=self._few_colours)

    @property
    def _few_colours(self) -> bool:
        return self.console.color_system == "standard"

    def _theme_named(self, name: str) -> str:
        return theme_named(name, self.available_themes, dark=self._dark, few_colours=self._few_colours)

    def _theme_changed(self, theme: Theme) -> None:
        self._chat.use_palette(self._palette())
        if theme.name not in (self._theme_named(self._chosen_theme), self._theme_named(self._tried_theme)):
            self.use_theme(theme.name)


class LocalBackend:
    """Creates the engine and the agent from the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def model(self) -> str:
        """The name of the model that `connect` opens."""
        return self._settings.model

    def use_model(self, name: str) -> None:
        """Make `connect` and `build_agent` use another model."""
        self._settings = replace(self._settings, model=name)

    async def sandbox(self) -> str:
        """What confines the tools that run code, such as `bubblewrap` or `no sandbox`; empty without such tools."""
        from gptoss_tui.tui.sandboxes import sandbox_in_use

        return await sandbox_in_use(self._settings)

    def guides(self) -> tuple[str, ...]:
        """Sources of instructions for the model besides the user: the names of AGENTS.md files, and skills."""
        from gptoss_tui.agent.factory import followed

        return followed(self._settings, self._settings.workspace.resolve())

    def connect(self) -> Engine:
        """Open the engine: a worker process, or a server's. Raises ModelNotFoundError, UsageError.

        The first frame is out by now, so garbage collection starts again; objects left by the start-up are exempt.
        """
        garbage.begin()
        from gptoss_tui.agent.engines import open_engine

        return open_engine(self._settings.engine_spec())

    def build_agent(self, engine: Engine) -> AgentPort:
        """Build the agent on `engine`, with the tokenizer."""
        from gptoss_tui.agent.factory import build_agent
        from gptoss_tui.harmony.tokenizer import load_tokenizer

        return build_agent(self._settings, engine, load_tokenizer())


def run_app(
    settings: Settings,
    prompt: str | None = None,
    resume: str | None = None,
    hardware: Callable[[], str] | None = None,
) -> int:
    """Run the app and return its exit code. `prompt` is sent as the first message.

    `resume` is the id of a conversation to continue; if it is empty, the user chooses one.
    `hardware` returns a description of this machine's processor and memory, for the first run.
    """
    state = user_state_path("gptoss-tui")
    options = Options(
        prompt=prompt,
        resume=resume,
        effort=settings.reasoning_effort,
        mode=settings.mode or "ask",
        workspace=str(settings.workspace),
        history_path=state / "history.jsonl",
        state_path=state / "screen.json",
        show_pages=settings.show_browser_results,
        theme=settings.theme,
        keys=settings.keys,
        vim=settings.vim,
        notifications=best_way(os.environ) if settings.notifications == "auto" else settings.notifications,
        pictures=None if settings.pictures == "auto" else settings.pictures,
    )
    app = GptOssApp(LocalBackend(settings), options, hardware=hardware)
    code = app.run(mouse=settings.mouse) or app.return_code or 0
    if app.saved_as and not code and sys.stdout.isatty():
        print(f"Saved. To go on: gptoss-tui --resume {app.saved_as}")
    return code
