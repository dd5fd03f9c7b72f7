"""camzoo: compare, check and time class-activation-map methods across libraries."""
