"""The last layer computes only what is read, and neither a vector nor a gradient changes by it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch
from peft import LoraConfig, get_peft_model

from components.config import EncoderParams
from components.model.backbone import PROJECTIONS, load_backbone, pooled
from components.model.packing import pack

PREFIX = list(range(40, 60))
ROWS = [(PREFIX, [[70, 71, 2], [80, 2], [90, 91, 92, 93, 2]]), ([], [[50, 51, 52, 2], [60, 2]])]


def adapted(student, narrowed: bool):
    model = load_backbone(student, range(300), EncoderParams(device="cpu"))
    if not narrowed:
        for module in (model.layers[-1].self_attn, model.layers[-1].mlp):
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=list(PROJECTIONS), init_lora_weights=False)
    model = get_peft_model(model, config)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    return model.train()


def mlp_tokens(model) -> list[int]:
    """How many tokens each call of the last layer's MLP is given, noted as the model runs."""
    counts: list[int] = []
    mlp = model.get_base_model().layers[-1].mlp.gate_proj
    mlp.register_forward_pre_hook(lambda _, args: counts.append(args[0].shape[1]))
    return counts


def test_vectors_and_gradients_are_those_of_the_whole_layer_under_lora_and_checkpointing(tiny_student):
    found = {}
    for narrowed in (True, False):
        model = adapted(tiny_student, narrowed)
        counts = mlp_tokens(model)
        vectors = torch.cat([pooled(model, pack(*row), "last") for row in ROWS])
        (vectors * torch.randn(5, 32, generator=torch.Generator().manual_seed(1))).sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        assert None not in gradients.values()
        found[narrowed] = vectors.detach(), torch.cat([g.flatten() for g in gradients.values()])
        texts, tokens = [len(texts) for _, texts in ROWS], [pack(*row).tokens for row in ROWS]
        assert sorted(counts) == sorted(2 * (texts if narrowed else tokens))  # forward, and again in the backward pass
    assert torch.allclose(found[True][0], found[False][0], atol=1e-6)
    assert (found[True][1] - found[False][1]).norm() / found[False][1].norm() < 1e-5


def test_mean_pooling_computes_every_token(tiny_student):
    model = adapted(tiny_student, narrowed=True)
    counts = mlp_tokens(model)
    with torch.no_grad():
        pooled(model, pack([], ROWS[0][1], causal=False), "mean")
    assert counts == [10]


def test_the_model_without_the_keyword_is_the_plain_one(tiny_student):
    row = pack(*ROWS[0])
    states = []
    for narrowed in (True, False):
        model = adapted(tiny_student, narrowed).eval()
        with torch.no_grad():
            states.append(model(input_ids=row.ids, position_ids=row.positions, row=row).last_hidden_state)
    assert torch.equal(*states)


def test_threads_that_share_a_model_read_their_own_tokens(tiny_student):
    model = load_backbone(tiny_student, range(300), EncoderParams(device="cpu"))
    rows = [pack(*row) for row in ROWS]
    with torch.no_grad():
        alone = [pooled(model, row, "last") for row in rows]
    together = Barrier(2, timeout=60)  # both threads stand between the last layer's attention and its MLP

    def meet(*_) -> None:
        together.wait()

    model.layers[-1].self_attn.register_forward_hook(meet)

    def vectors(row):
        with torch.no_grad():
            return pooled(model, row, "last")

    with ThreadPoolExecutor(2) as pool:
        shared = list(pool.map(vectors, rows))
    assert all(torch.equal(*pair) for pair in zip(alone, shared, strict=True))
