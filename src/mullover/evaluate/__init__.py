"""How often is it right, and what does it cost: metrics with intervals over many problems."""
