"""Load for the benchmarks: a client of thousands of sockets, and the usual ways that the feed stands beside."""
