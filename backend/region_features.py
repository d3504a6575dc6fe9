# SPDX-License-Identifier: GPL-3.0-or-later
"""How two places of a surface hang together in the tree of regions that creases bound, as numbers.

What makes them and the network that reads them share nothing but this. A region's *atoms* are the places
that lie in the same set of regions; what holds for a pair of places holds for their atoms. Columns of a pair,
the first place being a click:

0. 1: the regions of this shape are known
1. log(share of the surface that the smallest region with both places takes) / 8; 0 where none has both
2. clearness of that region, 0 where there is none
3. clearness of the clearest region with the click and without the place, 0 where there is none
4. clearness of the clearest region with the place and without the click, 0 where there is none
5. log(share of the largest region with the click and without the place) / 8; of the click's atom where none
6. log(share of the largest region with the place and without the click) / 8; of the place's atom where none
7. 1 where both lie in one connected piece of the mesh, else 0

Where a part of the surface is looked at closely, shares are of that part: `network.regions_in_view`.

All are finite and at most 2 in absolute value. A pair of which nothing is known is all zeros.
"""

REGION_FEATURES = 8
"""Columns of a pair."""

LOG_SCALE = 8.0
"""Logarithms of area shares are given as so many."""

FIRST_SHARE, LATER_SHARES = 1, slice(5, 7)
"""The columns that are such logarithms."""

MAX_REGIONS = 256
"""Atoms of a shape at most."""
