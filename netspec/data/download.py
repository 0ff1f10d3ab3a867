"""Files from their official addresses: whole and as their checksum says, or not at all."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from netspec.progress import Progress
from netspec.storage.atomic import replacing

PIECE = 2**18
TIMEOUT_S = 30


class DownloadError(Exception):
    """Why a file could not be had, as a sentence."""


def download(address: str, path: Path, sha256: str, progress: Progress) -> None:
    """Fetch a file; it appears whole, with the bytes that `sha256` tells of.

    Reports `part` events in bytes. Raises DownloadError where there is no way there, the answer breaks off, the
    bytes are others, or they cannot be written.
    """
    digest, done = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        request = urllib.request.Request(address, headers={"User-Agent": "netspec"})  # noqa: S310 - our own addresses
        with replacing(path) as partial:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, partial.open("wb") as file:  # noqa: S310
                total = int(answer.headers.get("Content-Length") or 0)
                while piece := answer.read(PIECE):
                    file.write(piece)
                    digest.update(piece)
                    done += len(piece)
                    progress("part", what=f"downloading {path.name}", done=done, total=total)
            if total and done != total:
                raise DownloadError(f"{address} broke off after {done:,} of {total:,} bytes")
            if digest.hexdigest() != sha256:
                raise DownloadError(f"{address} gave other bytes: sha256 {digest.hexdigest()}, not {sha256}")
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{address} answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise DownloadError(f"{address} cannot be reached: {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise DownloadError(f"{address} cannot be downloaded to {path}: {error}") from None
