"""The local engine: tokens in, tokens out.

A step takes whatever waits (questions, samples, branches, texts to score), runs one forward pass without
padding over all of it, and draws one token for each sequence that is due. What is cached stands in one
prefix tree, so that a prefix is computed once and stored once, however many continue it.
"""

import os

# Both must be set before torch loads: idle threads sleep after some microseconds of waiting, so that a
# busy neighbour is not made to wait for them, nor they for the system at each of a step's many small operations.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
