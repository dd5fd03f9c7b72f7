"""A benchmark as figures, without pyplot: what each contender costs, holds, how its cost grows, and what it buys."""

from camzoo.charts.costs import dots
from camzoo.charts.growing import scaling
from camzoo.charts.held import memory
from camzoo.charts.trade_off import pareto

__all__ = ["dots", "memory", "pareto", "scaling"]
