"""Adapters of the Model port: scripted (a fake), toy (enumerable), replay (recorded samples), called (a function)."""
