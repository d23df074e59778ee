"""The functions that a service needs, under one import.

from components.serving.api import encode_task, load_production

model = load_production()                                         # a SentenceTransformer, prompts and shots in it
queries = encode_task(model, ["is the sky blue"], "boolq")        # the task's prompt goes through the model once
documents = model.encode_document(["The sky looks blue because ..."])
"""

from components.model.shared_prefix import encode_task
from components.serving.ask import choose_task, nearest, registered_model, trained_model
from components.serving.corpus import read_corpus
from components.tracking.load import load_production, load_version

__all__ = [
    "choose_task",
    "encode_task",
    "load_production",
    "load_version",
    "nearest",
    "read_corpus",
    "registered_model",
    "trained_model",
]
