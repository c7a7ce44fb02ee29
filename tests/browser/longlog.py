"""A log of 200,000 lines and a scroll through it, for the test of the viewer and for its benchmark."""

from django.db import connection

from jobs import streams

LINES = 200_000

# Scrolls by `step` pixels a frame for `frames` frames, and returns how long each frame took, in milliseconds.
SCROLL = """
([step, frames]) => new Promise((resolve) => {
  const view = document.querySelector("[data-log-view]");
  const times = [];
  let last = performance.now();
  const tick = (now) => {
    times.push(now - last);
    last = now;
    view.scrollTop += step;
    times.length < frames ? requestAnimationFrame(tick) : resolve(times.slice(1));
  };
  requestAnimationFrame(tick);
})
"""


def fill(stream_id: int, count: int) -> None:
    for start in range(0, count, 20_000):
        streams.append(
            stream_id, [f"{number:06d} player{number % 7} said hello" for number in range(start, start + 20_000)]
        )
    with connection.cursor() as db:
        db.execute("ANALYZE jobs_line")
