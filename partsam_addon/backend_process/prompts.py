# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said about a part that is asked for, as values for `requests.predict`.

A new kind is a class here, and one in `backend/service/prompts.py`, which reads what this one writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Prompt(Protocol):
    """Writes itself into a request."""

    def fields(self) -> Mapping[str, Any]: ...

    def arrays(self) -> Mapping[str, NDArray]: ...


@dataclass(frozen=True)
class Points:
    """Places on the part, and such that are not.

    places: float [K, 3], in the units of the encoded arrays; labels: int [K], 1 part of it, 0 not
    """

    places: ArrayLike
    labels: ArrayLike

    def fields(self) -> Mapping[str, Any]:
        return {}

    def arrays(self) -> Mapping[str, NDArray]:
        return {
            "points": np.asarray(self.places, dtype=np.float64).reshape(-1, 3),
            "labels": np.asarray(self.labels, dtype=np.int32).reshape(-1),
        }


@dataclass(frozen=True)
class Size:
    """How large the part is.

    share: about which one of the surface it takes, in (0, 1]; None: unknown
    zoom: encode the surroundings of one point anew if the share is below 2 %, of several if they are
        answered with less than 5 %: takes as long as `requests.encode` and finds small parts better
    """

    share: float | None
    zoom: bool = False

    def fields(self) -> Mapping[str, Any]:
        return {"size": self.share, "zoom": self.zoom}

    def arrays(self) -> Mapping[str, NDArray]:
        return {}


@dataclass(frozen=True)
class EarlierMask:
    """The `prediction` of the reply before, whose mask is to be refined; None: there is none."""

    prediction: str | None

    def fields(self) -> Mapping[str, Any]:
        return {"previous": self.prediction}

    def arrays(self) -> Mapping[str, NDArray]:
        return {}
