"""What the package's build does beside collecting files: compile the CPU kernels and make the wheel one of a platform.

`GPTOSS_TUI_NATIVE` decides: `auto` (the default) leaves the kernels out where no compiler is found, `require` fails
then, `skip` does not try. Without the kernels the wheel is one for any platform, and torch takes their place.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeHook(BuildHookInterface):
    """Builds `gptoss_tui/engine/native` in place, for wheels and for editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add the library to the wheel. `version` is `standard` or `editable`."""
        wish = os.environ.get("GPTOSS_TUI_NATIVE", "auto")
        if self.target_name != "wheel" or wish == "skip":
            return
        native = _load(Path(self.root))
        try:
            built = native.build()
        except native.NativeBuildError as error:
            if wish == "require":
                raise
            self.app.display_warning(f"The CPU kernels are left out, torch takes their place: {error}")
            return
        self.app.display_info(f"CPU kernels: {built.compiler}; {', '.join(built.sets)}")
        if version == "editable":
            return
        build_data["artifacts"].append(built.path.relative_to(self.root).as_posix())
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{native.platform_tag()}"


def _load(root: Path) -> ModuleType:
    """The builder as a module by itself: what the package depends on is not installed where it is built."""
    path = root / "gptoss_tui" / "engine" / "native" / "build.py"
    spec = importlib.util.spec_from_file_location("gptoss_tui_native_build", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
