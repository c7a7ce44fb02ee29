"""Small benchmarks that go wrong in each way, for the tests of how benchmarks are run."""
