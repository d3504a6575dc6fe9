# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of `python -m backend`, one module each; see `backend.__main__`."""
