# SPDX-License-Identifier: GPL-3.0-or-later
"""What `dev.py` needs for wheels and zips. Standard library only, not in the extension."""
