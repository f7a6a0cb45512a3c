"""What the engine is worth: measured side by side with transformers, and against what the machine could do at best."""

import mullover.engine  # noqa: F401  it tells threads how to wait, and must do so before torch loads

# The cases of `mull bench engine`. S has 5 million parameters, M 88 million, both with random weights.
CASES = {
    "one-prompt-64": "S: 64 samples of one prompt",
    "one-prompt-256": "S: 256 samples of one prompt",
    "many-problems": "S: 64 prompts x 8 samples, all of different lengths",
    "search-tree": "S: 8 steps of a beam of 4, 4 branches each",
    "one-stream": "S: one sample",
    "m-one-prompt-16": "M: 16 samples of one prompt",
    "m-one-stream": "M: one sample",
}
OWN_CASES = {
    "one-stream": "one sample",
    "one-prompt-16": "16 samples of one prompt",
    "one-prompt-64": "64 samples of one prompt",
}  # with a model of one's own
