"""One file, one scorer. `exact`, `close`, `literal`, `arithmetic` and `sudoku` know the truth; see `oracle`."""
