"""Whether what a champion knows can be used again: its encoder for other rows, its weights in another training."""

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from schemas.contract import Contract
from tasks import plugins
from tasks.bundle_contents import BundleContents
from tasks.encoders.target import TargetFitter, predicted

if TYPE_CHECKING:
    import keras

_NETWORK = ("network.", "training.members")


def fresh(why: str) -> str:
    """Return the warning that a training begins afresh although it was to begin from the champion."""
    return f"retraining.start champion: training begins afresh, as {why}"


def other_network(champion: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Say which keys of the network have other values in the champion's spec than in ours; nothing where none has."""
    keys = sorted(key for key in {*champion, *ours} if key.startswith(_NETWORK))
    other = [
        f"{key} is {ours.get(key, 'not set')} and was {champion.get(key, 'not set')}"
        for key in keys
        if champion.get(key) != ours.get(key)
    ]
    return ", ".join(other)


def other_encoding(champion: BundleContents, contract: Contract, targets: Iterable[pa.Table]) -> str:
    """Say why the champion's encoder does not fit typed training rows; nothing where it does.

    `targets` are batches of the rows, with the target's columns. Raises DataError as fitting an encoder does.
    """
    theirs = champion.contract
    if theirs.problem != contract.problem:
        return f"the champion answers problem {theirs.problem}, not {contract.problem}"
    if theirs.target != contract.target:
        return "target is other than the champion's"
    names = sorted({*theirs.columns, *contract.columns})
    if other := [name for name in names if theirs.columns.get(name) != contract.columns.get(name)]:
        return f"columns are other than the champion's: {', '.join(other)}"
    now = plugins.source_digests(champion.encoder.code)
    if changed := [name for name, source in champion.encoder.code.items() if now[name] != source]:
        return f"the source of {', '.join(changed)} has changed"
    fitter = TargetFitter(contract)
    for batch in targets:
        fitter.observe(batch)
    if (ours := predicted(fitter.fitted())) != champion.outputs:
        return f"the training rows have the classes {', '.join(ours)}, and the champion's {', '.join(champion.outputs)}"
    return ""


def other_weights(champion: "keras.Model", ours: "keras.Model") -> str:
    """Say that the champion's weights have other shapes than our network's; nothing where they have not."""
    theirs, wanted = ([tuple(each.shape) for each in network.weights] for network in (champion, ours))
    if theirs == wanted:
        return ""
    pairs = itertools.zip_longest(wanted, theirs)
    now, was = next(pair for pair in pairs if pair[0] != pair[1])
    return f"the network has weights of shape {now} where the champion's has {was}"
