"""The bundle: a directory with all that predictions need: the contract, the encoder and the network."""

import copy
import functools
import importlib
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from schemas.errors import ResourceError, SpecError
from schemas.reference import Reference
from tasks.bundle_contents import FILES, NETWORKS, REFERENCE, BundleContents, Manifest
from tasks.encoders.base import Array, Floats
from tasks.workspaces import MANIFEST, file_digest

if TYPE_CHECKING:
    import keras

_ROWS = 8192
_BLOCK_ROWS = 1024


def load_tensorflow() -> None:
    """Import TensorFlow, once a process, without the notes that its C++ part writes before any log level counts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" in sys.modules:
        return
    standard_error = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        importlib.import_module("tensorflow")
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
    # It warns of many graphs, one a network, that are meant; what fails is raised.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def write(
    directory: Path,
    network: "keras.Model",
    *,
    contract: Path,
    encoder: Path,
    save_format: Literal["keras", "h5"] = "keras",
    code: Mapping[str, str] | None = None,
) -> None:
    """Write a bundle from a compiled network and the files of its contract and encoder.

    `code` are the SHA-256 of the sources of what is the user's own, by module:name; what they made is loaded once, as
    it will be. Raises SpecError when it does not load.
    """
    import keras
    import tensorflow as tf

    from tasks.networks import files

    directory.mkdir()
    shutil.copyfile(contract, directory / "contract.json")
    shutil.copyfile(encoder, directory / "encoder.json")
    name = NETWORKS[save_format]
    files.save(network, directory / name)
    if code:
        _refuse_unloadable(directory / name, code)
    digests = {each: file_digest(directory / each) for each in (*FILES, name)}
    manifest = Manifest(files=digests, keras=keras.__version__, tensorflow=tf.__version__, code=dict(code or {}))
    (directory / MANIFEST).write_text(manifest.to_json())


def add_reference(directory: Path, reference: Reference) -> None:
    """Add to a bundle what its data looked like."""
    (directory / REFERENCE).write_text(reference.model_dump_json() + "\n")
    manifest = Manifest.load(directory / MANIFEST)
    files = {**manifest.files, REFERENCE: file_digest(directory / REFERENCE)}
    (directory / MANIFEST).write_text(manifest.model_copy(update={"files": files}).to_json())


def _refuse_unloadable(path: Path, code: Mapping[str, str]) -> None:
    from tasks.networks import files

    try:
        files.load(path, compiled=True, code=code)
    except ResourceError as error:
        raise SpecError(
            f"what {', '.join(code)} made does not load again: {error}; register layers of your own with "
            "@keras.saving.register_keras_serializable() and save as .keras"
        ) from error


class Bundle(BundleContents):
    """A bundle in use."""

    @functools.cached_property
    def reference(self) -> Reference | None:
        """What the data looked like that it was made from; None in a bundle of an older version."""
        return Reference.load(self._directory / REFERENCE) if REFERENCE in self._manifest.files else None

    @functools.cached_property
    def network(self) -> "keras.Model":
        """The network, loaded at first use, to predict."""
        return self._loaded(compiled=False)

    def trainable(self) -> "keras.Model":
        """Return a network with its loss and its optimiser's state, to go on training from."""
        return self._loaded(compiled=True)

    def _loaded(self, *, compiled: bool) -> "keras.Model":
        load_tensorflow()
        from tasks.networks import files

        return files.load(self._directory / self._manifest.network, compiled=compiled, code=self._manifest.code)

    def with_network(self, network: "keras.Model") -> "Bundle":
        """Return the bundle with another network of the same inputs and outputs in its place."""
        other = copy.copy(self)
        other.__dict__.pop("_graph", None)
        other.__dict__["network"] = network
        return other

    def predict(self, rows: pa.Table) -> Array:
        """Return predictions for typed rows, float64.

        Numbers in the target's own units, shape (n, outputs); probabilities of each class, shape (n, classes); or
        probabilities of each label, shape (n, labels).
        """
        outputs = np.empty((rows.num_rows, self.encoder.target.units), np.float32)
        for start in range(0, rows.num_rows, _ROWS):
            piece = rows.slice(start, _ROWS)
            outputs[start : start + _ROWS] = self._forward(self.encoder.transform(piece), piece.num_rows)
        return self.encoder.target.decode(outputs)

    def _forward(self, inputs: Mapping[str, Array], rows: int) -> Floats:
        """Run the network on blocks of 1,024 rows, the last filled up: of another shape, sums end in other digits."""
        blocks = [
            {name: _filled(values[start : start + _BLOCK_ROWS]) for name, values in inputs.items()}
            for start in range(0, rows, _BLOCK_ROWS)
        ]
        return np.concatenate([self._graph(block).numpy() for block in blocks])[:rows]

    @functools.cached_property
    def _graph(self) -> Any:
        network = self.network
        import tensorflow as tf

        graph = tf.function(lambda inputs: network(inputs, training=False), reduce_retracing=True)
        block = {each.name: tf.TensorSpec((_BLOCK_ROWS, *each.shape[1:]), each.dtype) for each in network.inputs}
        try:
            graph.get_concrete_function(block)
        except Exception:  # a layer of the user's own that no graph takes
            return lambda inputs: network(inputs, training=False)
        return graph


def _filled(values: Array) -> Array:
    """Return values of shape (n, ...) as a block of 1,024 rows, repeated as often as that takes."""
    return np.resize(values, (_BLOCK_ROWS, *values.shape[1:]))
