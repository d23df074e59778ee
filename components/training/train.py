"""Stage `train`: LoRA training of the student, then the adapter and an export for sentence-transformers.

Writes adapter/ (peft safetensors), export/ (merged model) and curve.parquet. Under torchrun every process runs this
stage and rank 0 writes.
"""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from components.base.errors import UserError
from components.config import Config
from components.stage.context import StageContext
from components.training.best import best_step
from components.training.examples import TrainingData, load_training_data
from components.training.replay import only_new
from components.training.soft_labels import DenseTeachers
from components.training.world import World, join_world, shard

log = logging.getLogger(__name__)


def run(context: StageContext) -> dict[str, float]:
    """Train; returns final loss, accuracy and dev score."""
    from components.base.machine import free_memory
    from components.model.device import use_expandable_segments
    from components.model.export import export_model

    use_expandable_segments()
    config, student = context.config, context.outputs / "fetch" / "models" / "student"
    world = join_world(config.train.distributed)  # first: it sets the CUDA device of this process
    data = world.in_turn(lambda: load_data(context, config))
    curve, merged = fit_adapter(context, student, data, world)
    free_memory()  # of the trained model; the export loads the base again, in the encoder's precision
    if world.first:
        export_model(student, context.out / "adapter", context.out / "export", config, list(data.tasks.values()))
        pl.DataFrame(curve, schema=_CURVE).write_parquet(context.out / "curve.parquet", statistics=False)
    return _summary(curve) | merged


def load_data(context: StageContext, config: Config) -> TrainingData:
    """The training data; with train.replay, what is new to the initial adapter, and some of the old.

    Raises:
        UserError: as `load_training_data` and `only_new`.
    """
    data = load_training_data(context.outputs, context.cache)
    if config.train.replay is None or config.train.init_adapter is None:
        return data
    adapter = context.outputs / "fetch" / "models" / config.train.init_adapter
    kept = only_new(data, adapter, config.train.replay, config.seed)
    groups = [sum(map(len, some.examples.values())) for some in (kept, data)]
    log.info("replay: %s of %s pairs are trained on: new ones, and a sample of the old", *(f"{n:,}" for n in groups))
    return kept


def fit_adapter(
    context: StageContext, student: Path, data: TrainingData, world: World
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Train, write adapter/; returns the curve, and the metrics of the merged adapter (`train.merge`)."""
    from components.model.backbone import load_tokenizer
    from components.model.device import card_memory_error_as_user_error, device_of
    from components.model.prompt import Prompt
    from components.training.card import check_card
    from components.training.trainer import Trainer

    config = context.config
    tokenizer = load_tokenizer(student, config.prompt)
    check_card(config, device_of(config.encoder.device))
    cure = "set train.quantization: 4bit, which takes a quarter, or take a larger card"
    with card_memory_error_as_user_error("train", cure):
        model = add_adapter(student, tokenizer, config)
    shard(model, world)
    prompt, teachers = Prompt(tokenizer, config.prompt), DenseTeachers.load(context.outputs, config.train)
    if world.first:
        _log_start(model, data, config)
        _warn_unknown_tokens(tokenizer, data)
    trainer = Trainer(model, prompt, data, config, context.work, context.log, world, teachers, context.cache)
    curve = trainer.fit()
    if world.first:
        save_adapter(model, context.out / "adapter", student)
    return curve, trainer.merged


def _log_start(model: Any, data: TrainingData, config: Config) -> None:
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    place = next(iter(parameters))
    log.info(
        "%s steps of %s queries from %s tasks; %s of %s parameters trainable, on %s, base in %s",
        f"{config.train.steps:,}",
        config.train.batch_queries,
        len(data.tasks),
        f"{trained:,}",
        f"{sum(p.numel() for p in parameters):,}",
        place.device,
        str(place.dtype).removeprefix("torch."),
    )


def _warn_unknown_tokens(tokenizer: Any, data: TrainingData) -> None:
    from components.model.unknown_tokens import sample_texts, warn_unknown_tokens

    sides = {
        name: [(data.query_text, own.query), (data.document_text, own.positive)] for name, own in data.examples.items()
    }
    warn_unknown_tokens("student", tokenizer, {name: sample_texts(both) for name, both in sides.items()})


_CURVE = {
    "step": pl.Int64,
    "task": pl.String,
    "loss": pl.Float64,
    "accuracy": pl.Float64,
    "margin": pl.Float64,
    "dev_ndcg_at_10": pl.Float64,
}


def add_adapter(student: Path, tokenizer: Any, config: Config) -> Any:
    """Load the student, straight to its device, with a new, seeded LoRA adapter or that of `train.init_adapter`.

    Raises:
        UserError: 4-bit quantization is set and bitsandbytes is not installed, or no adapter to continue from.
    """
    from components.model.backbone import load_backbone, training_precision
    from components.model.device import device_of
    from components.model.prompt import SPECIAL_TOKENS
    from components.training.init_adapter import load_adapter

    params = config.train
    device = device_of(config.encoder.device)
    encoder = config.encoder.model_copy(update={"precision": training_precision(params.precision, device)})
    how = {"device_map": {"": device}, **_quantized(config)}
    backbone = load_backbone(student, tokenizer, encoder, config.prompt, **how)
    special = tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) if config.prompt.template == "special" else None
    model = wrap_adapter(backbone, special, config)
    if params.init_adapter:
        load_adapter(model, student.parent / params.init_adapter, params.lora)
    return model


def wrap_adapter(backbone: Any, special: list[int] | None, config: Config) -> Any:
    """A LoRA adapter over a frozen backbone, on its device; only the adapter and the rows of the `special` tokens are
    trainable, in fp32.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    from components.model.backbone import PROJECTIONS
    from components.training.lora_linear import fuse_lora
    from components.training.special_rows import train_rows_in_place

    params = config.train
    torch.manual_seed(config.seed)
    model: Any = get_peft_model(
        backbone,
        LoraConfig(
            r=params.lora.rank,
            lora_alpha=params.lora.alpha,
            lora_dropout=params.lora.dropout,
            target_modules=list(PROJECTIONS),
            trainable_token_indices={"embed_tokens": special} if special else None,
        ),
    )
    train_rows_in_place(model)
    fuse_lora(model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # bf16 Adam would round small updates away
    if params.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def _quantized(config: Config) -> dict[str, Any]:
    if config.train.quantization == "none":
        return {}
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "params.yaml: train.quantization: 4bit needs bitsandbytes; pip install 'embedding-foundry[qlora]'"
        )
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": four_bit}


def save_adapter(model: Any, folder: Path, student: Path | None = None) -> None:
    """Write the adapter as peft does, without local paths.

    Args:
        student: folder of outputs/fetch/models. A repository of the hub and its revision are named in the adapter's
            settings, so that peft and others load it on its true base; "student" stands for any other.
    """
    from components.model.locate import hub_repository

    for adapter in model.peft_config.values():
        known = hub_repository(student) if student else None
        adapter.base_model_name_or_path, adapter.revision = known or ("student", None)
        adapter.target_modules = sorted(adapter.target_modules)  # a set, whose order varies between processes
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def _summary(curve: list[dict[str, Any]]) -> dict[str, float]:
    tail = curve[-min(20, len(curve)) :]
    summary = {
        "train.final_loss": sum(row["loss"] for row in tail) / len(tail),
        "train.final_accuracy": sum(row["accuracy"] for row in tail) / len(tail),
        "train.steps": float(len(curve)),
    }
    best = best_step(curve)
    if best is None:
        return summary
    return summary | {"train.dev_ndcg_at_10": curve[best]["dev_ndcg_at_10"], "train.best_step": float(best + 1)}
