# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress bar of the commands."""

from __future__ import annotations

import sys
from types import TracebackType


class ProgressBar:
    """A progress(stage, fraction) callback that draws on stderr if that is a terminal, and else nothing."""

    def __init__(self) -> None:
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=1.0, leave=False, bar_format="{desc:<12} {percentage:3.0f}% |{bar}| {elapsed}"
            )

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, fraction: float) -> None:
        if self._bar is not None:
            self._bar.set_description_str(stage, refresh=False)
            self._bar.n = min(max(fraction, 0.0), 1.0)
            self._bar.refresh()
