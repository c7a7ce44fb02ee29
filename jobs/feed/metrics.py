"""What the feed counts about itself, for `/metrics` and the benchmarks."""

from prometheus_client import Counter, Gauge

viewers = Gauge("left4me_viewers", "Open sockets.", ["kind"])
lines = Counter("left4me_lines_sent", "Lines sent, counted once a viewer.")
frames = Counter("left4me_frames_sent", "Frames sent, counted once a viewer.")
reads = Counter("left4me_feed_reads", "Queries of the feed, whatever the number of viewers.")
checks = Counter("left4me_access_checks", "Rounds of asking whether viewers may still view.")
slow = Counter("left4me_slow_viewers_closed", "Viewers closed with 4408 since they did not keep up.")
stalled = Counter("left4me_stalled_viewers", "Viewers who stayed behind for 5 s though their stream went on.")
refused = Counter("left4me_sockets_refused", "Sockets closed at the door.", ["code"])
