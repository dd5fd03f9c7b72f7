"""Does an implementation compute what it says? Oracles, promises, and a ledger of known differences."""
