"""Typed parameters: params.yaml and recipes/*.yaml, one model a section; docs/parameters.md lists every key.

Unknown keys, wrong types and values out of range are refused, each with the key's path.
"""

from components.config.benchmark_tasks import BenchmarkTask, benchmark_tasks
from components.config.engine import EncodingEngineParams, EngineParams
from components.config.evaluation import EvaluateParams, InstructionParams, ShotParams
from components.config.fetch import (
    FetchParams,
    HubOrigin,
    LocalOrigin,
    MistralShape,
    ModelParams,
    Origin,
    SourceParams,
    WheelOrigin,
)
from components.config.fewshot import SelectShotsParams
from components.config.load import load_config, parse_config, read_parameters
from components.config.merging import MergeParams
from components.config.mining import JudgeParams, MineParams
from components.config.model import EncoderParams, PromptParams
from components.config.pair_model import PairModelParams
from components.config.prepare import DecontaminateParams, PrepareParams, TaskParams
from components.config.registration import RegisterParams
from components.config.retrieval import (
    Bm25Params,
    DenseTeacherParams,
    IndexParams,
    RetrieveParams,
    ScoreParams,
    SecondTeacherParams,
)
from components.config.schedule import PhaseParams, ScheduleParams
from components.config.training import (
    DevParams,
    DistillationParams,
    InBatchParams,
    LoraParams,
    ShotDrawParams,
    TrainParams,
)
from components.config.types import Params, TaskKind
from components.config.whole import Config

__all__ = [
    "BenchmarkTask",
    "Bm25Params",
    "Config",
    "DecontaminateParams",
    "DenseTeacherParams",
    "DevParams",
    "DistillationParams",
    "EncoderParams",
    "EncodingEngineParams",
    "EngineParams",
    "EvaluateParams",
    "FetchParams",
    "HubOrigin",
    "InBatchParams",
    "IndexParams",
    "InstructionParams",
    "JudgeParams",
    "LocalOrigin",
    "LoraParams",
    "MergeParams",
    "MineParams",
    "MistralShape",
    "ModelParams",
    "Origin",
    "PairModelParams",
    "Params",
    "PhaseParams",
    "PrepareParams",
    "PromptParams",
    "RegisterParams",
    "RetrieveParams",
    "ScheduleParams",
    "ScoreParams",
    "SecondTeacherParams",
    "SelectShotsParams",
    "ShotDrawParams",
    "ShotParams",
    "SourceParams",
    "TaskKind",
    "TaskParams",
    "TrainParams",
    "WheelOrigin",
    "benchmark_tasks",
    "load_config",
    "parse_config",
    "read_parameters",
]
