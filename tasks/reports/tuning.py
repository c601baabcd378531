"""The tuning: how its trials went, what mattered, and the best settings beside the spec's own."""

import numpy as np

from schemas.stages import Tuned
from tasks import metrics
from tasks.reports import drawing
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import UNDEFINED, number, plain, shorten
from tasks.tuning.record import Study, Trial

_LOG_ABOVE = 20
_MOST_LISTED = 15


def section(study: Study) -> Section:
    """Return the section."""
    importances = (_importances_plot(study),) if study.importances else ()
    return Section(
        plots=(_history_plot(study), *importances),
        tables=(_settings_table(study), _trials_table(study)),
        notes=(_summary(study),),
    )


def reused(tuned: Tuned) -> Section:
    """Return the section of a run that took the settings which were tuned for an earlier version."""
    found = f"trial {tuned.trial}" if tuned.trial else "the tuning"
    whom = f" for version {tuned.version}" if tuned.version else " for an earlier version"
    said = f"Nothing was tuned in this run (tuning.when): its settings are those that {found} found{whom}, "
    said += f"{tuned.age} version{'s' * (tuned.age > 1)} before this one."
    if not tuned.settings:
        return Section(notes=(f"{said} None was better than the spec as it stands.",))
    rows = tuple((key, _said(value)) for key, value in tuned.settings.items())
    caption = f"The study is tune/{tuned.study} in the workspace of then." if tuned.study else ""
    return Section(
        notes=(said,), tables=(Table(title="Settings", header=("setting", "value"), rows=rows, caption=caption),)
    )


def _summary(study: Study) -> str:
    best, own = study.chosen, study.trials[0]
    said = f"{number(len(study.trials))} trials: {study.count('complete')} trained to their end, "
    said += f"{study.count('pruned')} ended early, {study.count('failed')} failed."
    if best is own:
        return f"{said} None was better than the spec as it stands, whose settings the network has."
    against = f", against {number(study.measure(own))} with the spec's own" if own.state == "complete" else ""
    measured = f"{_criterion(study)} is {number(study.measure(best))}"
    return f"{said} The network has the settings of trial {best.number}, whose {measured}{against}."


def _criterion(study: Study) -> str:
    return f"{study.metric} of the validation rows" if study.metric else "validation loss"


def _history_plot(study: Study) -> Plot:
    shown = [trial for trial in study.trials if study.measure(trial) is not None]
    values = np.array([study.measure(trial) for trial in shown])
    numbers = np.array([trial.number for trial in shown])
    complete = np.array([trial.state == "complete" for trial in shown])
    lower = study.metric is None or metrics.lower_is_better(study.metric)
    worst = np.inf if lower else -np.inf
    best = (np.fmin if lower else np.fmax).accumulate(np.where(complete, values, worst))
    figure = drawing.canvas(drawing.FULL, 320)
    axes = figure.subplots()
    axes.plot(numbers[complete], values[complete], "o", color=drawing.BLUE, markersize=5, label="trained to its end")
    if not complete.all():
        axes.plot(
            numbers[~complete], values[~complete], "x", color=drawing.INK, alpha=0.55, markersize=5, label="ended early"
        )
    known = np.isfinite(best)
    axes.plot(
        numbers[known], best[known], color=drawing.ORANGE, drawstyle="steps-post", linewidth=1.4, label="best so far"
    )
    if lower and values.min() > 0 and values.max() / values.min() > _LOG_ABOVE:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    drawing.count_ticks(axes.xaxis)
    axes.set(xlabel="trial", ylabel=study.metric or "lowest validation loss", xlim=(0.5, len(study.trials) + 0.5))
    axes.legend()
    data = {
        "trial": numbers,
        "state": [trial.state for trial in shown],
        study.metric or "validation_loss": values,
        "best": np.where(known, best, np.nan),
    }
    caption = "Trial 1 is the spec as it stands. Figures are those of the validation rows; test rows took no part."
    if study.metric:
        caption += " Trials were ended early by their losses, and have no figure here."
    return Plot("tuning_history", "Trials", figure, data, caption)


def _importances_plot(study: Study) -> Plot:
    keys, shares = list(study.importances), list(study.importances.values())
    figure = drawing.canvas(drawing.FULL, 60 + 24 * len(keys))
    axes = figure.subplots()
    places = np.arange(len(keys))
    axes.barh(places, shares, height=0.62, color=drawing.BLUE, alpha=0.6)
    axes.set_yticks(places, [shorten(key, 40) for key in keys])
    axes.set(ylim=(len(keys) - 0.4, -0.6), xlabel="share of importance")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    caption = (
        "How much each setting decided whether a trial was among the best (PED-ANOVA, Watanabe et al. 2023, over the "
        f"{study.count('complete')} trials that were trained to their end). Of few trials it is a hint."
    )
    return Plot("tuning_importances", "What mattered", figure, {"setting": keys, "share": shares}, caption)


def _settings_table(study: Study) -> Table:
    best = study.chosen.settings
    return Table(
        title="Best settings",
        header=("setting", "the spec's own", "best"),
        rows=tuple((key, _said(value), _said(best.get(key, value))) for key, value in study.own.items()),
        caption=f"{UNDEFINED} is the default of Keras.",
    )


def _trials_table(study: Study) -> Table:
    ended = [trial for trial in study.trials if trial.state == "complete"]
    sign = 1 if study.metric is None or metrics.lower_is_better(study.metric) else -1
    ranked = sorted(ended, key=lambda trial: (sign * (study.measure(trial) or 0.0), trial.number))[:_MOST_LISTED]
    measured = [study.metric] if study.metric else []
    caption = f"The best {len(ranked)} of {len(study.trials)}; all are in trials.csv of the tune stage."
    failed = next((trial for trial in study.trials if trial.state == "failed"), None)
    if failed is not None:
        caption += f" Trial {failed.number} failed: {shorten(failed.reason, 160)}"
    return Table(
        title="Best trials",
        header=("trial", *measured, "validation loss", "epoch", *(_short(key) for key in study.own)),
        rows=tuple(_row(study, trial) for trial in ranked),
        caption=caption,
        marked=0,
    )


def _row(study: Study, trial: Trial) -> tuple[str, ...]:
    settings = (_said(trial.settings.get(key, value)) for key, value in study.own.items())
    measured = [number(trial.metric)] if study.metric else []
    return (str(trial.number), *measured, number(trial.validation_loss), number(trial.best_epoch), *settings)


def _short(key: str) -> str:
    """Return a key without the words before its last, but for those that a name alone would be nothing without."""
    parts = key.split(".")
    return parts[-2] if parts[-1] == "name" else parts[-1].replace("_", " ")


def _said(value: object) -> str:
    if value is None:
        return UNDEFINED
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return shorten(str(value), 60)
    return plain(value) if isinstance(value, float) else f"{value:,}"
