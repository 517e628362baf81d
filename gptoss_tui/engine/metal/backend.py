"""Loads the Metal engine. This module can be imported without MLX; loading then fails with an error that says so."""

from __future__ import annotations

from gptoss_tui.engine.backend import Backend, ReportProgress
from gptoss_tui.engine.generation import count_reads, open_model
from gptoss_tui.engine.metal.device import on_gpu, prepare
from gptoss_tui.engine.metal.failures import in_our_words
from gptoss_tui.engine.types import EngineSpec, LoadProgress


def load_backend(spec: EngineSpec, report: ReportProgress) -> Backend:
    """Load the checkpoint of `spec`.

    Raises CheckpointError, EngineError if there is no Metal or the model does not have such a context, and
    WrongResultsError if MLX misreads prompts on this GPU.
    """
    device = prepare()
    import mlx.core as mx

    from gptoss_tui.engine.metal.decode import Decoder
    from gptoss_tui.engine.metal.model import Transformer
    from gptoss_tui.engine.metal.prefill_check import check_prefill
    from gptoss_tui.engine.metal.selftest import choose_steps, describe, may_fuse
    from gptoss_tui.engine.metal.sequence import MetalBackend
    from gptoss_tui.engine.metal.verdicts import refusals
    from gptoss_tui.engine.metal.weights import load_weights

    checkpoint, context = open_model(spec, report)
    on_read = count_reads(report, checkpoint.weight_bytes, 0.95)
    dtype = {"bfloat16": mx.bfloat16, "float32": mx.float32}[spec.dtype]
    if fused := may_fuse(checkpoint.config):
        # Before the weights are loaded, since the trial takes memory too.
        report(LoadProgress("Trying the kernels, once on this machine", 0.0))
        refused = refusals(checkpoint.config, spec.dtype)
    with in_our_words():
        weights = load_weights(checkpoint.raw, checkpoint.config, dtype, on_read)
        model = Transformer(checkpoint.config, weights, context)
        report(LoadProgress("Comparing the kernels with MLX's own", 0.96))
        decoder = choose_steps(model, refused=refused) if fused else Decoder(model)
        if on_gpu():
            report(LoadProgress("Comparing a prompt with its tokens one by one", 0.98))
            check_prefill(model, context)
        device = "; ".join(filter(None, (device, describe(decoder))))
        backend = MetalBackend(model, decoder, context, checkpoint.directory.name, device)
    report(LoadProgress("Ready", 1.0, done=True, info=backend.info()))
    return backend
