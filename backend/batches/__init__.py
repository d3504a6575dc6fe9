# SPDX-License-Identifier: GPL-3.0-or-later
"""Many files: one pure function per file, and engines that run it over lists of any length."""
