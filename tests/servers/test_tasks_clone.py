"""Copying a server's files: a job that may run, or be run again, long after it was asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.models import Job
from jobs.registry import JobError
from jobs.run import Run
from servers import services, tasks
from servers.models import Right, Server
from servers.runtime import get_runtime


@pytest.fixture
def files(server: Server, settings, tmp_path: Path) -> Iterator[Path]:
    """The folder of servers; Alice's has a file of its own."""
    settings.STATE_DIR = tmp_path
    get_runtime.cache_clear()
    own = tmp_path / "runtime" / server.name / "upper"
    own.mkdir(parents=True)
    (own / "motd.txt").write_text("hello")
    yield tmp_path / "runtime"
    get_runtime.cache_clear()


def test_a_copy_asked_for_by_who_may_read_the_files_has_them(server, bob, share, files) -> None:
    share(bob, Right.SETTINGS, Right.FILES)
    copy, job = services.clone_server(by=bob, server=server, name="copy")
    tasks.clone(Run(job.pk), **job.args)
    assert (files / copy.name / "upper" / "motd.txt").read_text() == "hello"


def test_a_copy_run_again_after_the_right_was_taken_away_gets_nothing(server, alice, bob, share, files) -> None:
    share(bob, Right.SETTINGS, Right.FILES)
    copy, job = services.clone_server(by=bob, server=server, name="copy")
    services.unshare_server(by=alice, server=server, user=bob)
    with pytest.raises(JobError, match="bob may not read the files of alices-practice"):
        tasks.clone(Run(job.pk), **Job.objects.get(pk=job.pk).args)
    assert not (files / copy.name).exists()


def test_a_server_with_folders_too_deep_to_be_copied_is_not_and_that_is_said(server, alice, files, make_deep) -> None:
    make_deep(files / server.name / "upper", 3000)
    copy, job = services.clone_server(by=alice, server=server, name="copy")
    run = Run(job.pk)
    with pytest.raises(JobError, match=r"alices-practice has folders too deep to be copied\. Revert or delete them"):
        tasks.clone(run, **job.args)
    assert not (files / copy.name).exists()
    assert not any(len(text) > 300 for _, text in run.buffer)
