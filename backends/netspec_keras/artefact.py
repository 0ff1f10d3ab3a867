"""What the outputs of the exported files cannot show: that they are still what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import keras

from netspec.backend.artefact import changed_text, changed_values, existing
from netspec.codegen.source import module_name
from netspec.errors import VerificationError
from netspec.network import Network
from netspec_keras.model import build, precision, prepare
from netspec_keras.render import CONFIG, WEIGHTS, archive_name, render


def differences(folder: Path, network: Network) -> Iterator[str]:
    """See `Backend.check_artefacts`: the module must be what is rendered, the archive's model what that builds."""
    archive, source = existing(folder / archive_name(network)), existing(folder / f"{module_name(network.name)}.py")
    found, rendered = _config(archive), render(network)
    yield from changed_text(source, rendered)
    for change in changed_values(_without_identities(found), _without_identities(_built(rendered))):
        yield f"{archive.name}: {change}"


def _config(archive: Path) -> Any:
    """The configuration that an archive holds; raises VerificationError for an archive that is not whole."""
    try:
        with ZipFile(archive) as members:
            if damaged := members.testzip():
                raise VerificationError(f"{archive.name} cannot be read: {damaged} in it is damaged")
            members.getinfo(WEIGHTS)
            return json.loads(members.read(CONFIG))
    except (BadZipFile, KeyError, ValueError) as error:
        raise VerificationError(f"{archive.name} cannot be read: {error}") from error


def _built(source: str) -> Any:
    """The configuration of the model that the source builds, as an archive would hold it."""
    prepare()
    keras.utils.clear_session()  # Keras numbers its own operations through a process; the export started again, too
    with precision("float32"):
        model = build(source)
    return json.loads(json.dumps(keras.saving.serialize_keras_object(model)))


def _without_identities(config: Any) -> Any:
    """A configuration without the addresses that objects had in memory."""
    if isinstance(config, dict):
        return {name: _without_identities(value) for name, value in config.items() if name != "shared_object_id"}
    return [_without_identities(value) for value in config] if isinstance(config, list) else config
