"""Tasks from few lines."""

from components.config import PrepareParams


def tasks_of(**tasks):
    raw = {name: {"kind": "retrieval", "train": 10, **task} for name, task in tasks.items()}
    return PrepareParams.model_validate({"tasks": raw}).tasks
