"""What is asked: tasks, their items, and loading them through ``datasets``."""

from pytest_pbias.tasks.base import (
    Axis,
    Grade,
    Item,
    OwnTask,
    PromptProtocol,
    Split,
    Task,
    TaskData,
)
from pytest_pbias.tasks.registry import TASKS, in_random_order, load_task, resolve_task

__all__ = [
    "TASKS",
    "Axis",
    "Grade",
    "Item",
    "OwnTask",
    "PromptProtocol",
    "Split",
    "Task",
    "TaskData",
    "in_random_order",
    "load_task",
    "resolve_task",
]
