"""The files of a bundle, and those of them that are read without TensorFlow: the contract and the encoder."""

from pathlib import Path

from pydantic import Field, ValidationError

from schemas.contract import Contract
from schemas.document import Record
from schemas.errors import ResourceError
from schemas.stages import Input
from tasks.encoders.table import TableEncoder
from tasks.encoders.target import predicted
from tasks.stage import verify
from tasks.workspaces import MANIFEST, file_digest, place

NETWORKS = {"keras": "network.keras", "h5": "network.h5"}
"""The file of the network, by how it is saved."""
FILES = ("contract.json", "encoder.json")
"""What is in every bundle beside it."""
REFERENCE = "reference.json"
"""What the data looked like; bundles of older versions have none."""


class Manifest(Record):
    """What a bundle is made of. The digest of this file stands for the whole bundle."""

    files: dict[str, str]
    """SHA-256 of each file beside it."""
    keras: str
    """Version of Keras that wrote the network."""
    tensorflow: str
    """Version of TensorFlow it was trained with."""
    code: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the sources of loss, network's builder and encoders that are the user's own, by module:name."""

    @property
    def network(self) -> str:
        """The name of the network's file."""
        return next((name for name in NETWORKS.values() if name in self.files), NETWORKS["keras"])


def digest(directory: Path) -> str:
    """Return the digest that stands for a bundle: the SHA-256 of its manifest."""
    return file_digest(directory / MANIFEST)


class BundleContents:
    """What a bundle says of itself. Its files are verified before any of them is parsed."""

    def __init__(self, source: Input) -> None:
        """Open a bundle; raises ResourceError when a file is missing, changed or not what was asked for."""
        origin = place(source.path)
        self._directory = origin.directory
        try:
            if not origin.fetch():
                raise ResourceError(f"{origin} holds no bundle")
            if source.digest is not None and digest(self._directory) != source.digest:
                raise ResourceError(f"the bundle in {self._directory} is not the one asked for: its digest differs")
            manifest = Manifest.model_validate_json((self._directory / MANIFEST).read_bytes())
        except (OSError, ValidationError) as error:
            raise ResourceError(f"{self._directory} holds no bundle: {error}") from error
        if manifest.files.keys() - {REFERENCE} != {*FILES, manifest.network}:
            wanted, named = ", ".join((*FILES, manifest.network)), ", ".join(manifest.files)
            raise ResourceError(f"{self._directory / MANIFEST} must name {wanted}, not {named}")
        verify(self._directory, manifest.files)
        self._manifest = manifest
        self.contract = Contract.load(self._directory / "contract.json")
        self.encoder = TableEncoder.load(self._directory / "encoder.json")

    @property
    def digest(self) -> str:
        """The digest that stands for the bundle."""
        return digest(self._directory)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it predicts: columns of numbers, classes or labels."""
        return predicted(self.encoder.target)
