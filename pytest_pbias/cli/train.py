"""Train a model against its bias, from pairs of a data set or mined from a run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_pbias.cli.arguments import above_zero, add_option, from_zero, whole
from pytest_pbias.cli.plugins import tasks_for
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.embedded import find_data
from pytest_pbias.outcomes import OutcomeTable, select_defense
from pytest_pbias.outcomes.regrading import grading_tasks
from pytest_pbias.outcomes.saved_runs import find_run
from pytest_pbias.prompts import BASELINE, paper_identities
from pytest_pbias.tasks import TASKS, PromptProtocol, Task, TaskData, load_task, resolve_task
from pytest_pbias.training import exclusions as leaving_out
from pytest_pbias.training.dpo import (
    load_tokenizer,
    quiet_libraries,
    require_training_extra,
    train_dpo,
)
from pytest_pbias.training.exclusions import without
from pytest_pbias.training.heldout import hold_out
from pytest_pbias.training.job import TrainingJob, known_training
from pytest_pbias.training.mining import Split, mine_pairs
from pytest_pbias.training.pairs import (
    VARIANTS,
    PreferencePair,
    apply_variant,
    format_of,
    read_pairs,
    write_pairs,
)
from pytest_pbias.training.processes import Processes
from pytest_pbias.training.recipe import RECIPES, Recipe, recipe_named
from pytest_pbias.training.saving import require_runtime_builder
from pytest_pbias.training.weights import trainable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="'embedded', an alias, a local folder or a hub id")
    parser.add_argument("--method", choices=["dpo"], default="dpo")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained model")
    pairs = parser.add_argument_group("pairs")
    pairs.add_argument(
        "--from-run", metavar="RUN", help="number, name or tag of a kept run, 'latest', or a table"
    )
    add_option(pairs, "store", help="folder of the runs")
    pairs.add_argument("--pairs", metavar="FILE|HUB", help="pairs instead of mined ones")
    pairs.add_argument(
        "--variant",
        choices=VARIANTS,
        default="as-is",
        help="what to do with the system prompts of --pairs (default: as-is)",
    )
    pairs.add_argument("--max-pairs", type=whole(1), help="take at most this many, drawn by --seed")
    add_option(pairs, "data-dir", help="data the run was asked from")
    add_option(pairs, "tasks")
    pairs.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="IDENTITY",
        help="give this identity, or this group, no pairs",
    )
    pairs.add_argument(
        "--anchors",
        type=from_zero,
        default=1.0,
        metavar="RATIO",
        help="for each mined pair, so many of items that everyone got right (default: 1)",
    )
    held = parser.add_argument_group("held-out items (with --from-run)")
    held.add_argument("--held-out", type=float, default=0.2, metavar="SHARE", help="default: 0.2")
    held.add_argument("--split-by", choices=["item", "cluster"], default="item")
    held.add_argument(
        "--check-items", type=whole(0), default=20, help="a task, to stop by (0: none)"
    )
    held.add_argument(
        "--check-tokens", type=whole(1), default=128, help="longest answer of a check"
    )
    held.add_argument("--patience", type=whole(1), default=2, help="checks without a better one")
    how = parser.add_argument_group("training")
    how.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="default: small for embedded, else large",
    )
    how.add_argument("--learning-rate", type=above_zero)
    how.add_argument("--beta", type=above_zero)
    length = how.add_mutually_exclusive_group()
    length.add_argument("--steps", type=whole(1), help="instead of the recipe's length")
    length.add_argument("--epochs", type=above_zero, help="instead of the recipe's length")
    how.add_argument("--plain", action="store_true", help="DPO's own loss alone, as in the paper")
    how.add_argument("--micro-batch", type=whole(1), help="rows in memory at once")
    how.add_argument("--max-length", type=whole(1), default=1024, help="tokens of a pair")
    how.add_argument("--save-every", type=whole(1), default=50, metavar="STEPS")
    how.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    how.add_argument("--cpu", action="store_true", help="even where there is a GPU")
    how.add_argument(
        "--threads",
        type=whole(1),
        metavar="N",
        help="of the CPU; the weights depend on it (default: 1 for embedded, else one a core)",
    )
    how.add_argument("--seed", type=whole(0, 2**32 - 1), default=0)


def run(options: argparse.Namespace) -> int:
    """Gather pairs, train, save.

    Raises:
        PbiasError: the pairs, the run or the model cannot be used, or memory ran out.
    """
    require_training_extra()
    job = _job(options)
    _say(f"{len(job.pairs):,} pairs; {job.recipe}")
    if job.recipe.quantize:
        reason = job.why_not_quantized()
        on = f"on 4-bit weights (NF4) {job.unlike_released}".rstrip()
        _say(f"without 4-bit quantization: {reason}" if reason else on)
    trained = train_dpo(job, _say)
    _say(f"kept the weights of step {trained.step} of {trained.steps}")
    _say(f"measure it with --pbias-model={trained.folder}, then pbias compare the two tables")
    return 0


def _say(text: str) -> None:
    if Processes.launched().is_main_process:
        print(text, flush=True)


def _job(options: argparse.Namespace) -> TrainingJob:
    """What to train on what; mistakes are found before pairs are gathered."""
    _check_sources(options)
    job = _job_without_pairs(options)
    if Processes.launched().is_main_process:
        known_training(job)
    table, folder = None, None
    if options.from_run is not None:
        table = OutcomeTable.read(find_run(options.from_run, options.store))
        table = select_defense(table, None)
        embedded = options.model == "embedded" or "embedded" in table.unique("model")
        folder = find_data(options.data_dir, embedded=embedded)
    require_runtime_builder(job.model)  # takes seconds to import, as what follows does
    quiet_libraries()
    load_tokenizer(job.model)
    given = None if options.pairs is None else read_pairs(options.pairs, _say)
    leave_out = _left_out(options, table, given)
    split = Split(options.held_out, options.seed, options.split_by)
    known = TASKS if table is None else tasks_for(grading_tasks(table), options.tasks)
    data = {} if table is None else _data(folder, table, known)
    heldout = None
    if table is not None and options.check_items > 0:
        heldout = hold_out(
            table,
            data,
            split,
            n_items=options.check_items,
            max_tokens=options.check_tokens,
            leave_out=leave_out,
            known=known,
        )
    if given is not None:
        pairs = _varied(options, given, leave_out)
    else:
        assert table is not None
        pairs = _mined(options, table, data, split, leave_out)
    pairs = _at_most(pairs, options.max_pairs, options.seed)
    if Processes.launched().is_main_process:
        write_pairs(pairs, options.out / "pairs.jsonl")
    return replace(job, pairs=pairs, heldout=heldout)


def _check_sources(options: argparse.Namespace) -> None:
    if options.pairs is None and options.from_run is None:
        raise ConfigurationError(
            "no pairs to train on: give --from-run TABLE to mine them, or --pairs FILE"
        )
    if options.pairs is None and options.variant != "as-is":
        raise ConfigurationError("--variant is for --pairs: mined pairs ask what the run asked")
    if not 0 < options.held_out < 1:
        raise ConfigurationError(f"--held-out: {options.held_out} is not between 0 and 1")
    if options.pairs is not None:
        format_of(options.pairs)


def _job_without_pairs(options: argparse.Namespace) -> TrainingJob:
    return TrainingJob(
        model=trainable(options.model),
        pairs=(),
        recipe=_recipe(options),
        out=options.out,
        seed=options.seed,
        micro_batch=options.micro_batch,
        save_every=options.save_every,
        patience=options.patience,
        max_length=options.max_length,
        cpu=options.cpu,
        threads=options.threads or (1 if options.model == "embedded" else None),
        resume=options.resume,
        variant=options.variant if options.pairs is not None else "",
    )


def _left_out(
    options: argparse.Namespace,
    table: OutcomeTable | None,
    given: Sequence[PreferencePair] | None,
) -> tuple[str, ...]:
    people = () if table is None else leaving_out.people_of(table)
    if given is None:
        return leaving_out.left_out(options.leave_out, people, "the run")
    return leaving_out.left_out_of_pairs(options.leave_out, given, people)


def _mined(
    options: argparse.Namespace,
    table: OutcomeTable,
    data: dict[str, TaskData],
    split: Split,
    leave_out: Sequence[str],
) -> tuple[PreferencePair, ...]:
    mined = mine_pairs(table, data, split, leave_out=leave_out, anchors=options.anchors)
    if leave_out:
        _say(f"left out: {', '.join(leave_out)}")
    _say(
        f"mined {len(mined.pairs) - mined.n_anchors:,} pairs from {mined.n_items:,} items on "
        f"which {mined.n_identities} identities disagree, and {mined.n_anchors:,} anchors"
    )
    return mined.pairs


def _varied(
    options: argparse.Namespace, given: Sequence[PreferencePair], leave_out: Sequence[str]
) -> tuple[PreferencePair, ...]:
    # The released code draws nobody as one of them.
    people = [who for who in (*paper_identities(), BASELINE) if who.name not in leave_out]
    varied = apply_variant(given, options.variant, people, seed=options.seed)
    pairs = without(varied, leave_out)
    if leave_out:
        _say(f"left out: {', '.join(leave_out)}, whom {len(varied) - len(pairs):,} pairs state")
    return pairs


def _at_most(
    pairs: tuple[PreferencePair, ...], most: int | None, seed: int
) -> tuple[PreferencePair, ...]:
    if most is None or len(pairs) <= most:
        return pairs
    chosen = np.sort(np.random.default_rng(seed).permutation(len(pairs))[:most])
    return tuple(pairs[number] for number in chosen)


def _data(
    folder: Path | None, table: OutcomeTable, known: Mapping[str, Task]
) -> dict[str, TaskData]:
    """The items of the run's tasks, in the wording of the run's protocol."""
    protocol: PromptProtocol = "paper" if table.info.protocol == "paper" else "default"
    return {
        name: load_task(resolve_task(name, known), data_dir=folder, protocol=protocol)
        for name in table.tasks()
    }


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe named, else the one for the model's size, with what the options change."""
    small = options.model == "embedded"
    recipe = recipe_named(options.recipe or ("small" if small else "large"))
    if options.epochs is not None:
        recipe = replace(recipe, steps=None)
    changes = {
        "learning_rate": options.learning_rate,
        "beta": options.beta,
        "epochs": options.epochs,
        "steps": options.steps,
        "losses": (("sigmoid", 1.0),) if options.plain else None,
    }
    return replace(recipe, **{key: value for key, value in changes.items() if value is not None})
