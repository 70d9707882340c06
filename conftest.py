"""Settings shared by the benchmark suite and the tests of this repository."""

pytest_plugins = ["pytester"]
