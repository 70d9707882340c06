"""Reasoning: 27 subtasks with short answers (BIG-Bench Hard)."""

from __future__ import annotations

from pytest_pbias.tasks.base import (
    PAPER_CLOSING,
    WORK,
    Content,
    HubSource,
    LocalSource,
    PromptProtocol,
    Row,
    Split,
    Task,
    text_of,
    unchanged,
)


def _bbh(row: Row, protocol: PromptProtocol) -> Content:
    prompt = f"{text_of(row, 'input')}\n\n" + (
        f"Show your work first. {PAPER_CLOSING}"
        if protocol == "paper"
        else WORK.removesuffix("{form}.") + "..."
    )
    subtask = str(row["subtask"])
    return Content(subtask, prompt, {"target": text_of(row, "target"), "subtask": subtask})


BBH_SUBTASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)

BBH = Task(
    name="bbh",
    title="reasoning (BBH)",
    axis="utility",
    grader="freeform",
    # Random choice scores 25.7 % on average over the subtasks (Suzgun et al. 2022, table 2).
    floor=0.257,
    licence="MIT",
    columns=("input", "target"),
    local=LocalSource("bbh/*.json", "json", field="examples", name_column="subtask"),
    hub=HubSource(
        "lukaemon/bbh",
        "982bb89fd79532a8ac676a61fc42eb1aeec63f99",
        ("input", "target"),
        unchanged,
        configs=BBH_SUBTASKS,
        config_column="subtask",
    ),
    build=_bbh,
    splits={"test": Split("test", "", 6511)},
)
