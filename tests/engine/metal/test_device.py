"""Which machines the engine takes, what it says on others, and what macOS says of its chip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gptoss_tui.commands import doctor
from gptoss_tui.commands.machine import describe_machine
from gptoss_tui.engine import backends
from gptoss_tui.engine.backends import load_backend
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.config import GPT_OSS_20B
from gptoss_tui.engine.metal import apple, device, verdicts
from gptoss_tui.engine.metal.apple import AppleChip, parse_chip
from gptoss_tui.engine.metal.kernels import NAMES
from gptoss_tui.engine.metal.memory import METAL_NEEDS
from gptoss_tui.engine.metal.verdicts import Trial
from gptoss_tui.engine.planning import choice, here, memory, probe
from gptoss_tui.engine.planning.choice import cpu_backend
from gptoss_tui.engine.planning.here import fastest_backend
from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.errors import EngineError, MemoryPlanError
from tests.engine.shapes import TINY

SYSCTL = "machdep.cpu.brand_string: Apple M2 Max\nhw.memsize: 68719476736\niogpu.wired_limit_mb: 0\n"
IOREG = """
+-o AGXAcceleratorG14X  <class AGXAcceleratorG14X, id 0x1000004c1, registered, matched, active, busy 0 (0 ms)>
    {
      "IOClass" = "AGXAcceleratorG14X"
      "gpu-core-count" = 38
      "model" = "Apple M2 Max"
    }
"""


@pytest.fixture(autouse=True)
def not_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a person, who never sets it."""
    monkeypatch.delenv(device.ON_CPU_VARIABLE, raising=False)


def test_a_chip_is_read() -> None:
    """As macOS prints it; with its own limit, and with one that somebody set."""
    chip = parse_chip(SYSCTL, IOREG)
    assert chip == AppleChip("Apple M2 Max", 64 << 30, 48 << 30, raised=False, gpu_cores=38, estimated=True)
    said = "Apple M2 Max, 38 GPU cores, 64 GiB of unified memory, about 48.0 GiB for the GPU (by default)"
    assert chip.describe() == said
    small = parse_chip("machdep.cpu.brand_string: Apple M1\nhw.memsize: 17179869184\niogpu.wired_limit_mb: 14500\n", "")
    assert small == AppleChip("Apple M1", 16 << 30, 14500 << 20, raised=True, gpu_cores=None)


def test_the_limit_is_what_metal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can be asked, it is no estimate; where it cannot, or there is no chip, nothing is asked."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    monkeypatch.setattr(device, "read_chip", lambda: parse_chip(SYSCTL, IOREG))
    monkeypatch.setattr(mx, "device_info", lambda asked: {"max_recommended_working_set_size": 55_662_790_656})
    for usable in (False, True):
        monkeypatch.setattr(device, "is_usable", lambda usable=usable: usable)
        chip = device.measured_chip()
        assert chip is not None
        assert (chip.wired_limit, chip.estimated) == ((55_662_790_656, False) if usable else (48 << 30, True))
    monkeypatch.setattr(device, "read_chip", lambda: None)
    assert device.measured_chip() is None


@pytest.mark.parametrize("sysctl", ["", "machdep.cpu.brand_string: Intel(R) Core(TM) i9\nhw.memsize: 17179869184\n"])
def test_no_chip_is_none(sysctl: str) -> None:
    """Another system, or an older Mac."""
    assert parse_chip(sysctl, "") is None


def test_a_limit_that_can_be_raised_is_a_hint() -> None:
    """Where the memory has what the model needs, beside what macOS needs itself."""
    chip = AppleChip("Apple M1", 16 << 30, 10 << 30, raised=False, gpu_cores=None)
    assert "iogpu.wired_limit_mb=13312" in str(chip.hint(13 << 30))
    assert chip.hint(9 << 30) is None
    assert chip.hint(15 << 30) is None


@pytest.mark.parametrize(("system", "machine"), [("linux", "x86_64"), ("darwin", "x86_64"), ("win32", "AMD64")])
def test_another_platform_is_told_its_engine(
    system: str, machine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By name."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    assert not device.is_usable()
    with pytest.raises(EngineError, match="Apple silicon") as caught:
        device.prepare()
    assert caught.value.hint in {
        f"here `--backend {name}` is the right engine; `--backend auto` picks it" for name in ("native", "torch")
    }


def test_an_intel_python_under_rosetta_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot use the GPU, though the Mac could; an Intel Mac is not told of another Python."""
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    for answer, words in (("1\n", "Rosetta"), ("0\n", "Apple silicon"), ("", "Apple silicon")):
        monkeypatch.setattr(apple, "_output", lambda command, answer=answer: answer)
        assert fastest_backend() != "metal"
        with pytest.raises(EngineError, match=words) as caught:
            device.prepare()
        assert ("arm64 Python" in str(caught.value.hint)) == (words == "Rosetta")
        assert [check.name for check in doctor._metal()] == ["metal"] * (words == "Rosetta")


@pytest.mark.parametrize("error", [ImportError("libmlx.dylib not found"), OSError("bad"), RuntimeError("no metallib")])
def test_a_broken_mlx_is_told_and_auto_goes_on(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever importing it raises."""

    def broken(name: str) -> None:
        raise error

    monkeypatch.setattr(device, "is_apple_silicon", lambda: True)
    monkeypatch.setattr(device, "find_spec", lambda name: True)
    monkeypatch.setattr(device, "import_module", broken)
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    assert fastest_backend() != "metal"
    with pytest.raises(EngineError, match=f"MLX: it cannot be imported .{error}") as caught:
        device.prepare()
    assert "force-reinstall" in str(caught.value.hint)
    assert any(str(error) in check.detail for check in doctor._metal())


def test_a_mac_without_mlx_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And auto goes on without it."""
    monkeypatch.setattr(device, "is_apple_silicon", lambda: True)
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    assert fastest_backend() != "metal"
    with pytest.raises(EngineError, match="MLX") as caught:
        device.prepare()
    assert "pip install" in str(caught.value.hint)


def test_auto_is_metal_where_it_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac with MLX and a GPU."""
    monkeypatch.setattr(device, "is_usable", lambda: True)
    assert fastest_backend() == "metal"


def test_a_mac_without_a_gpu_for_mlx_is_told_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual machine, where MLX for Macs says all the same that Metal is available."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "device_count", lambda kind: 0)
    monkeypatch.setattr(device, "is_apple_silicon", lambda: True)
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    assert fastest_backend() != "metal"
    with pytest.raises(EngineError, match="no GPU") as caught:
        device.prepare()
    assert "--backend" in str(caught.value.hint)


def test_importing_it_needs_no_mlx() -> None:
    """The module that loads it, on any platform."""
    script = "import sys; import gptoss_tui.engine.metal.backend; print('mlx' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_plan_counts_what_the_gpu_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that is free, and says how to raise it."""
    random_checkpoint(TINY, tmp_path)
    stored = open_checkpoint(tmp_path).weight_bytes
    needed = memory.plan(TINY, stored, 1000, available=0, needs=METAL_NEEDS).total
    chip = AppleChip("Apple M1", 16 << 30, needed - 1, raised=False, gpu_cores=8)
    for module in (backends, here):
        monkeypatch.setattr(module, "measured_chip", lambda: chip)
    for module in (here, memory):
        monkeypatch.setattr(module, "available_memory", lambda: 12 << 30)
    with pytest.raises(MemoryPlanError, match="nothing was loaded") as caught:
        load_backend(EngineSpec(tmp_path, backend="metal", context=1000), lambda step: None)
    assert caught.value.hint == f"{chip.hint(needed)}; `--backend {cpu_backend()}` runs it on the CPU"
    assert chip.hint(needed) is not None


def test_doctor_describes_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what of the engine is missing."""
    monkeypatch.setattr(device, "is_apple_silicon", lambda: True)
    monkeypatch.setattr(device, "read_chip", lambda: parse_chip(SYSCTL, IOREG))
    monkeypatch.setattr(doctor, "_fused_kernels", lambda: iter(()))
    monkeypatch.setattr(device, "mlx_version", lambda: "0.32.4")
    monkeypatch.setattr(device, "measured_chip", device.read_chip)
    for problem, usable, status, detail in (
        ("it is not installed", False, "note", "not installed"),
        (None, False, "note", "no GPU"),
        (None, True, "ok", "MLX 0.32.4"),
    ):
        monkeypatch.setattr(device, "mlx_problem", lambda problem=problem: problem)
        monkeypatch.setattr(device, "is_usable", lambda usable=usable: usable)
        chip, metal = doctor._metal()
        assert "64 GiB of unified memory, about 48.0 GiB for the GPU" in chip.detail
        assert (metal.status, detail in metal.detail) == (status, True)
    monkeypatch.setattr(device, "is_apple_silicon", lambda: False)
    assert list(doctor._metal()) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Trial({"qkv": None, "head": None}), [("ok", "kernels: qkv, head")]),
        (Trial({"qkv": None, "head": "logits: bad"}), [("note", "kernels that are not used: head (logits: bad)")]),
        (Trial(failure="no room"), [("note", "kernels that are not used: all of them (no room)")]),
        (
            Trial({"qkv": None}, {"bandwidth": 3.5e11, "layers": 0.714, "head": 0.9}),
            [
                ("ok", "kernels: qkv"),
                ("ok", "the GPU reads 350.0 GB/s; layers of gpt-oss-20b reach 71% of that, logits 90%"),
            ],
        ),
    ],
)
def test_doctor_names_the_kernels(
    found: Trial, said: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All of them, or those that are not used and why, and what they reach; and it is remembered."""
    monkeypatch.setattr(verdicts, "user_cache_path", lambda name: tmp_path)
    monkeypatch.setattr(verdicts, "try_kernels", lambda *given, **named: found)
    assert [(check.status, check.detail) for check in doctor._fused_kernels()] == said
    assert len(list(tmp_path.rglob("*.json"))) == (0 if found.failure else 1)


@pytest.mark.skipif(sys.platform != "darwin", reason="there is no Metal here")
def test_the_kernels_are_right_on_this_gpu() -> None:
    """All of them, or this chip is news."""
    assert verdicts.try_kernels(GPT_OSS_20B, "bfloat16") == Trial(dict.fromkeys(NAMES))


def test_a_report_names_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Mac, and nothing elsewhere."""
    monkeypatch.setattr(apple, "read_chip", lambda: parse_chip(SYSCTL, IOREG))
    monkeypatch.setattr("gptoss_tui.commands.machine.sys.platform", "darwin")
    assert "38 GPU cores" in str(describe_machine().chip)
    monkeypatch.setattr("gptoss_tui.commands.machine.sys.platform", "linux")
    assert describe_machine().chip is None


@pytest.mark.parametrize("gpu", [False, True])
def test_bandwidth_is_measured_where_the_engine_runs(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By MLX, whose GPU reads faster than the CPU beside it; of a GPU many times in a row."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    evaluated, evaluate = list[int](), mx.eval
    monkeypatch.setattr(mx, "eval", lambda made: evaluated.append(len(made)) or evaluate(made))
    monkeypatch.setattr(device, "on_gpu", lambda: gpu)
    monkeypatch.setattr(probe, "BANDWIDTH_BYTES", 1 << 20)
    assert probe.measure_bandwidth("metal") > 1e7
    assert set(evaluated[1:]) == {16 if gpu else 1}


def test_tests_on_a_mac_stay_off_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MLX has a GPU and was told to use the CPU, nothing takes the ways of the GPU."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    from gptoss_tui.engine.metal.selftest import may_fuse

    monkeypatch.setenv(device.ON_CPU_VARIABLE, "1")
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(mx, "device_count", lambda kind: 1)
    assert device.prepare() == "cpu (MLX)"
    assert (device.on_gpu(), may_fuse(GPT_OSS_20B)) == (False, False)
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))
    assert (device.on_gpu(), may_fuse(GPT_OSS_20B)) == (True, True)
    monkeypatch.setenv("GPTOSS_TUI_METAL_KERNELS", "off")
    assert not may_fuse(GPT_OSS_20B)
