# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend as a subprocess: messages on its standard input and output, and the server behind them."""
