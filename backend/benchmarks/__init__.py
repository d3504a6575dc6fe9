# SPDX-License-Identifier: GPL-3.0-or-later
"""What measures, and nothing else needs: stages, network, graph cut and training step, beside plain ones."""
