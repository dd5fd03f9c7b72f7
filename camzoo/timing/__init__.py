"""What an explanation costs: raw samples, taken side by side, from which every statistic is derived on reading."""
