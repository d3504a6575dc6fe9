# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that a user can act on.

Everything here carries a message for people: what was wrong, and what to do. Anything else that is
raised is a bug and keeps its traceback.
"""

from __future__ import annotations


class PartSAMError(Exception):
    """Base of all errors whose message is meant for the user."""


class MeshError(PartSAMError):
    """The mesh cannot be segmented (empty, not finite, no area ...)."""


class MeshFileError(PartSAMError):
    """A mesh file cannot be read or written."""


class CheckpointError(PartSAMError):
    """A weights file is missing, truncated, foreign or does not fit its network."""


class DeviceError(PartSAMError):
    """The requested compute device is not available or ran out of memory."""


class PromptError(PartSAMError):
    """Clicks or settings that make no sense for the shape."""


class DataError(PartSAMError):
    """A training shard, dataset or configuration file is unusable."""


class ProtocolError(PartSAMError):
    """A message on the pipe between Blender and the backend is malformed or too large."""


class Cancelled(PartSAMError):
    """The caller asked to stop. Nothing was changed."""

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)
