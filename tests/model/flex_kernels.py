"""Compiled kernels for a card that is not here: shared memory of FlexAttention's and of those of model/fused.py.

Graphs of forward and backward are captured on the CPU, moved to fake CUDA tensors, lowered by Inductor for the card and
compiled to a cubin by triton's ptxas. This needs triton and no GPU. What torch.cuda tells of a card is replaced, so
this runs in a process of its own:

    python -m tests.model.flex_kernels sm_80 sm_89      # prints {"sm_80": {"flex forward": bytes, ...}, ...}
"""

import importlib
import json
import multiprocessing
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_map


class Card(NamedTuple):
    """What an architecture's cards give; shared memory of one block in bytes (CUDA's programming guide, table 27)."""

    major: int
    minor: int
    processors: int
    shared_memory: int


CARDS = {
    "sm_80": Card(8, 0, 108, 166_912),  # A100
    "sm_86": Card(8, 6, 84, 101_376),  # A10G, RTX 3090
    "sm_89": Card(8, 9, 128, 101_376),  # RTX 4090, L4, L40S
    "sm_90": Card(9, 0, 132, 232_448),  # H100, H200
}
HEADS, KV_HEADS, WIDTH = 32, 8, 128  # Mistral-7B's


def capture() -> list[tuple[str, Any]]:
    """("flex forward", "flex backward", "norm forward", ... , its graph), as `torch.compile` hands them to Inductor."""
    from torch.nn.attention import flex_attention as torch_module
    from transformers.models.mistral.modeling_mistral import apply_rotary_pos_emb

    from components.model.attention import flex_attention_over
    from components.model.fused import add_norm, of_known_heads, rms_norm, swiglu
    from components.model.packing import join_rows, pack

    torch_module._validate_device = lambda *tensors: None  # it refuses a backward on a CPU
    graphs: list[tuple[str, Any]] = []
    row = join_rows([pack([5] * 100, [[7] * 40] * 3), pack([6] * 40, [[7] * 20] * 2)])
    query, key, value = (_random(1, row.tokens, heads, WIDTH).transpose(1, 2) for heads in (HEADS, KV_HEADS, KV_HEADS))
    flex = _kept("flex", torch_module.flex_attention, graphs)
    flex_attention_over(row, query, key, value, WIDTH**-0.5, flex).sum().backward()
    weight = torch.nn.Parameter(torch.ones(HEADS * WIDTH, dtype=torch.bfloat16), requires_grad=False)
    hidden, change = (_random(1, row.tokens, HEADS * WIDTH) for _ in range(2))
    _kept("norm", rms_norm, graphs)(hidden, weight, 1e-5).sum().backward()
    sum(x.sum() for x in _kept("residual", add_norm, graphs)(hidden, change, weight, 1e-5)).backward()
    _kept("gate", swiglu, graphs)(_random(1, row.tokens, 14336), _random(1, row.tokens, 14336)).sum().backward()
    angles = (torch.randn(1, row.tokens, WIDTH, dtype=torch.bfloat16) for _ in range(2))
    rotated = _kept("rope", of_known_heads(apply_rotary_pos_emb), graphs)(query, key, *angles)
    sum(x.sum() for x in rotated).backward()
    return graphs


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16, requires_grad=True)


def _kept(name: str, function: Any, graphs: list[tuple[str, Any]]) -> Any:
    """`function`, compiled to its own graphs, which are kept."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    from torch._inductor.decomposition import select_decomp_table

    from components.model.fused import compile_function

    def keep(side: str, graph: Any, inputs: Any) -> Any:
        graphs.append((f"{name} {side}", graph))
        return make_boxed_func(graph.forward)

    compilers = {"fw_compiler": partial(keep, "forward"), "bw_compiler": partial(keep, "backward")}
    backend = aot_autograd(**compilers, decompositions=select_decomp_table())
    return compile_function(function, backend)


def pretend(name: str) -> None:
    """Make torch and triton believe that card 0 of this process is of this architecture."""
    import torch._inductor.scheduler as scheduler
    from torch._dynamo.device_interface import CudaInterface
    from torch._inductor import config
    from torch._inductor.fx_passes import reinplace
    from torch._inductor.runtime import triton_helpers
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    card = CARDS[name]
    properties = SimpleNamespace(
        name=name,
        major=card.major,
        minor=card.minor,
        multi_processor_count=card.processors,
        total_memory=80 << 30,
        regs_per_multiprocessor=65_536,
        max_threads_per_multi_processor=2048 if card.minor == 0 else 1536,
        max_threads_per_block=1024,
        warp_size=32,
        shared_memory_per_block_optin=card.shared_memory,
        gcnArchName="",
    )
    told: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda *_: 0,
        "get_device_properties": lambda *_: properties,
        "get_device_capability": lambda *_: (card.major, card.minor),
        "get_compute_capability": lambda *_: 10 * card.major + card.minor,
        "_exchange_device": lambda *_: 0,
        "_maybe_exchange_device": lambda *_: 0,
        "_lazy_init": lambda: None,
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda *_: None,
        "synchronize": lambda *_: None,
    }
    for place in (torch.cuda, CudaInterface, CudaInterface.Worker):
        for key, value in told.items():
            if hasattr(place, key):
                setattr(place, key, value if place is torch.cuda else staticmethod(value))
    target = GPUTarget("cuda", 10 * card.major + card.minor, 32)
    utils = SimpleNamespace(get_device_properties=lambda _: {"max_shared_mem": card.shared_memory})
    fake_driver: Any = SimpleNamespace(get_current_target=lambda: target, get_current_device=lambda: 0, utils=utils)
    driver.set_active(fake_driver)
    triton_helpers.set_driver_to_gpu = lambda: None
    scheduler.has_triton = lambda *_: True  # type: ignore[attr-defined]
    torch._C._cuda_getCurrentRawStream = lambda _: 0
    hop: Any = sys.modules["torch._higher_order_ops.flex_attention"]  # torch's package gives the name to a function
    hop._permute_strides = _permuted
    reinplace.canonicalize_view_scatter_ops = lambda graph: None  # it copies between fake tensors, as above
    config.fx_graph_cache = False
    config.compile_threads = 1
    config.use_static_triton_launcher = False


def _permuted(out: torch.Tensor, strides: Any) -> torch.Tensor:
    """torch's function without its copy between fake tensors, which needs CUDA's own guard."""
    from torch._inductor.ir import get_fill_order

    hop: Any = sys.modules["torch._higher_order_ops.flex_attention"]  # torch's package gives the name to a function
    return out.new_empty_strided(out.shape, hop._construct_strides(out.shape, get_fill_order(strides)))


def move_to_cuda(graph: Any, options: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The graph with fake CUDA tensors and a card's kernel options; returns (fake mode, inputs)."""
    fakes = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    mode = next(value.fake_mode for value in fakes if isinstance(value, torch.Tensor))

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")

    def optioned(argument: Any) -> Any:
        # On a card the forward keeps the log of the sums for the backward; on a CPU it does not.
        is_options = isinstance(argument, dict) and "OUTPUT_LOGSUMEXP" in argument
        return {**argument, "OUTPUT_LOGSUMEXP": True, **options} if is_options else argument

    with mode:
        for module in graph.modules():
            for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
                node.args = tuple(map(optioned, node.args))
                if "val" in node.meta:
                    node.meta["val"] = tree_map(moved, node.meta["val"])
                if "device" in node.kwargs:
                    node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
    return mode, [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]


GRAPHS: list[tuple[str, Any]] = []  # captured before the fork: they cannot be sent


def shared_memory(name: str) -> dict[str, int]:
    """Bytes of shared memory that each graph's kernels take, compiled for this architecture."""
    from torch._inductor import async_compile
    from torch._inductor.codecache import PyCodeCache
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.virtualized import V

    from components.model.attention import flex_options

    pretend(name)
    sources: dict[str, str] = {}
    # The generated module hands each kernel's source to this function, and is then not run.
    async_compile.AsyncCompile.triton = lambda self, kernel, source, device_str="cuda": sources.update({kernel: source})
    async_compile.AsyncCompile.wait = lambda self, scope: None
    needs: dict[str, int] = {}
    for kind, graph in GRAPHS:
        sources.clear()
        mode, inputs = move_to_cuda(graph, flex_options(CARDS[name].shared_memory) or {})
        with V.set_fake_mode(mode), torch._guards.tracing(torch._guards.TracingContext(mode)):
            compile_fx_inner(graph, inputs, is_backward=kind.endswith("backward"))
        tuners = [getattr(PyCodeCache.load(source), kernel) for kernel, source in sources.items()]
        compiled = [tuner._precompile_config(config) for tuner in tuners for config in tuner.configs]
        needs[kind] = max(int(one.kernel.metadata.shared) for one in compiled)
    return needs


if __name__ == "__main__":
    GRAPHS += capture()
    importlib.import_module("torch._inductor.compile_fx")  # once, for all four
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        told = {name: pool.apply(shared_memory, (name,)) for name in sys.argv[1:]}
    print(json.dumps(told))
