"""What a run needs to know before anything is trained: the study with its code, missing cells, trials cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from search_spaces._yaml import mapping_in, parse_stored
from search_spaces.config import Config, TrialConfig, config_from
from search_spaces.errors import StudyError
from search_spaces.metrics import require_direction
from search_spaces.plan import Cell, Plan
from search_spaces.rounds import ROUNDS_FILE, Round, rounds_from_json, rounds_to_json, with_round
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from_store
from tune_app.storage import LAST
from tune_app.tuning.store.writer import ResultsStore


def stored_results(
    plan: Plan, store: ResultsStore, fingerprint: Callable[[Config], str]
) -> dict[str, Mapping[str, float | None]]:
    """Return the metrics of each possible cell that the store holds for the data as it is now, by digest.

    A trial that diverged has none. One that failed does not count as held: it is trained again.
    """
    finished = store.finished()
    keys = [(cell.digest, fingerprint(cell.config)) for cell in plan.possible_cells()]
    found = [finished[key] for key in keys if key in finished]
    return {trial.digest: trial.metrics if trial.status == "completed" else {} for trial in found}


def note_round(spec: StudySpec, store: ResultsStore) -> None:
    """Add what the study plans to its rounds in the store, where it is a new round; before study.yaml is written.

    Where the store holds no trial yet, nothing could be seen, and this is the first round.
    """
    before = _rounds_before(store)
    rounds = with_round(before, _round(spec, datetime.now(UTC).isoformat(timespec="seconds")))
    if rounds != before:
        store.folder.write(ROUNDS_FILE, rounds_to_json(rounds).encode())


def _round(spec: StudySpec, planned_at: str | None) -> Round:
    if spec.sequential is None:
        return Round(spec.seeds, planned_at, trials=None if spec.tune is None else spec.tune.trials)
    from analysis.stats.course import sequential_plan  # takes a second to import

    plan = sequential_plan(spec)
    return Round(spec.seeds, planned_at, plan.looks, plan.spending)


def _rounds_before(store: ResultsStore) -> tuple[Round, ...]:
    """Return the rounds of earlier runs; of a store written before they were kept, what its study planned."""
    if not (store.folder / "trials").names(".parquet"):
        return ()
    if store.folder.exists(ROUNDS_FILE):
        try:
            return rounds_from_json(store.folder.read(ROUNDS_FILE).decode(errors="replace"))
        except StudyError as error:
            raise StudyError(f"{error}; remove the file from {store.folder.url} to go on without its rounds") from None
    if not store.folder.exists("study.yaml"):
        return ()
    tree = mapping_in(parse_stored(store.folder.read("study.yaml"), "study.yaml"), "study.yaml", "the study's keys")
    try:
        return (_round(study_from_store(tree), None),)
    except StudyError:
        return ()  # a study that this release cannot read: `outdated` says what becomes of its cells


def cut_off(store: ResultsStore) -> list[tuple[Config, str]]:
    """Return (config, fingerprint) of the trials that have a checkpoint to go on from and no row."""
    import torch

    from tune_app.training import CorruptCheckpoint, read_checkpoint

    ended = {key(trial.digest, trial.fingerprint) for trial in store.trials()}
    found = []
    for name in (store.folder / "checkpoints").names():
        if name in ended:
            continue
        try:
            payload = read_checkpoint(f"{store.checkpoints_url}/{name}", LAST, torch.device("cpu"))
        except (FileNotFoundError, CorruptCheckpoint):
            continue
        found.append((config_from(payload["config"], stored=True), str(payload["fingerprint"])))
    return found


def outdated(spec: StudySpec, store: ResultsStore, missing: list[Cell]) -> list[str]:
    """Return why cells count as missing though the store holds others like them: code or training that changed.

    A sentence each, such as "my_pkg changed (code 1a2b... was 3c4d...): 60 cells to train again".
    """
    stored: dict[str, tuple[str | None, int]] = {}
    for trial in store.trials():
        if trial.status in ("completed", "diverged"):
            config = config_from(trial.config, stored=True)
            stored[_timeless(config)] = (trial.code, config.training_version)
    code_changed: dict[str, int] = {}
    version_changed: dict[int, int] = {}
    for cell in missing:
        before = stored.get(_timeless(cell.config))
        if before is None:
            continue
        if cell.config.references() and before[0] is not None and before[0] != cell.config.code:
            code_changed[before[0]] = code_changed.get(before[0], 0) + 1
        elif before[1] != cell.config.training_version:
            version_changed[before[1]] = version_changed.get(before[1], 0) + 1
    present = spec.code.fingerprint if spec.code else ""
    found = [
        f"the code changed (fingerprint {present}, was {old}): {count} cells to train again; "
        "`run --accept-code` says that both compute the same"
        for old, count in code_changed.items()
    ]
    return found + [
        f"the built-in training changed (version {spec.baseline.training_version}, was {old}): {count} cells to train "
        "again; the stored ones stay in the store"
        for old, count in version_changed.items()
    ]


def outdated_search(spec: StudySpec, store: ResultsStore) -> list[str]:
    """Return how many stored trials a search does not use because the built-in training changed, as a sentence."""
    present = spec.baseline.training_version
    versions = Counter(config_from(trial.config, stored=True).training_version for trial in store.trials())
    return [
        f"the built-in training changed (version {present}, was {old}): {count} stored trials stay in the store, and "
        "this search does not use them"
        for old, count in versions.items()
        if old != present
    ]


def check_version(spec: StudySpec) -> None:
    """Raise StudyError for a study of an earlier training version, as read from a store: nothing can train it."""
    version, present = spec.baseline.training_version, type(spec.baseline).model_fields["training_version"].default
    if version != present:
        raise StudyError(
            f"this study is of training version {version}, as its results store has it, but this release trains "
            f"version {present}; run the study file instead"
        )


def _timeless(config: Config) -> str:
    """Return the digest of a config without the versions of code and training, and what came with a version."""
    plain = config.model_copy(update={"code": None, "training_version": 1})
    if isinstance(plain, TrialConfig):
        plain = plain.model_copy(update={"data": plain.data.model_copy(update={"split": "fixed"})})
    return plain.digest()


def objective(spec: StudySpec) -> tuple[str, str]:
    """Return the column that choices are made by, and max or min."""
    choose = spec.metric_record(spec.choose_by_metric())
    return choose.name, "max" if require_direction(choose) else "min"
