"""The smallest way into the feed's worst fault: two viewers of one stream, and a line at the wrong moment."""

from tests.jobs.test_feed_model import Feed


def test_viewers_who_meet_while_a_line_is_told_both_go_on() -> None:
    feed = Feed()
    feed.append(stream=1, count=2, how="now")
    feed.join(stream=1, after=2, room=None)
    feed.settle()
    feed.join(stream=1, after=0, room=None)
    feed.turn(times=3)  # the feed asks for the second viewer's lines
    feed.take_a_snapshot()
    feed.append(stream=1, count=1, how="now")
    feed.answer_and_turn()  # and the second comes to stand where the first does
    feed.settle()
    feed.append(stream=1, count=1, how="now")
    feed.settle()
    assert [client.at for client in feed.clients] == [4, 4]
    feed.teardown()


def test_a_line_that_was_found_for_another_viewer_before_it_was_told_of_comes_to_all() -> None:
    feed = Feed()
    feed.join(stream=1, after=0, room=None)
    feed.settle()
    feed.append(stream=1, count=1, how="later")
    feed.join(stream=1, after=0, room=None)
    feed.turn(times=3)  # the feed asks for the second viewer's lines
    feed.answer_and_turn()
    feed.settle()  # the wake-up comes only now
    assert [client.at for client in feed.clients] == [1, 1]
    feed.teardown()


def test_a_job_that_changes_while_its_log_is_read_for_the_first_time_is_not_missed() -> None:
    feed = Feed()
    feed.join(stream=2, after=0, room=None)
    feed.turn(times=3)
    feed.take_a_snapshot()
    feed.change_job(stream=2, state="running")
    feed.answer_and_turn()
    feed.settle()
    assert feed.clients[0].states == ["running"]
    feed.teardown()


def test_a_viewer_that_cannot_be_written_to_is_closed_and_the_others_are_served() -> None:
    feed = Feed()
    for _ in range(3):
        feed.join(stream=1, after=0, room=None)
    broken = feed.clients.pop(1)

    def write(frame: object) -> None:
        raise OSError("gone")

    broken.write = write  # type: ignore[method-assign]
    feed.append(stream=1, count=9, how="now")
    feed.settle()
    assert [client.at for client in feed.clients] == [9, 9]
    assert broken.closed == 1013
    feed.teardown()
