"""What is left of layers that nobody has any more: what it is, and the job that clears it away."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.utils import timezone

from jobs.models import Job
from jobs.services import enqueue
from servers.layers import stack, workshop
from servers.models import Layer, LayerBuild, Node, Server, Upload
from servers.runtime import scripts

CLEAN = "layers.clean"
STALE = timedelta(hours=24)  # an upload that nobody continued for so long is given up


def request_cleaning(*, node: Node) -> Job | None:
    """The job that deletes what nobody has any more, when there is any on this machine."""
    stale = Upload.objects.filter(touched_at__lt=stale_since())
    unused = unused_digests(stack.digests_here()) or workshop.unused_downloads() or scripts.left_over()
    if not (unused or stale.exists() or lost_builds()):
        return None
    return enqueue(kind=CLEAN, subject=f"layers:{node.slug}", title="Clean up layers", node=node.slug, coalesce=True)


def stale_since() -> datetime:
    """Uploads not touched since then are given up."""
    return timezone.now() - STALE


def lost_builds() -> set[int]:
    """Layers of which a killed build left files and reserved room."""
    reserving = Layer.objects.filter(building_bytes__gt=0).values_list("pk", flat=True)
    suspects = {f"layer:{number}": number for number in {*reserving, *stack.partials_here().values()}}
    under_way = set(Job.objects.active().filter(subject__in=suspects).values_list("subject", flat=True))
    return {number for topic, number in suspects.items() if topic not in under_way}


def forget_lost_builds(*, layers: Iterable[int]) -> None:
    """Their files are gone, and so is what they had reserved."""
    Layer.objects.filter(pk__in=layers).update(building_bytes=0)


def unused_digests(digests: Iterable[str]) -> set[str]:
    """Those that no build has and no server last started with."""
    known = set(LayerBuild.objects.filter(digest__in=(asked := set(digests))).values_list("digest", flat=True))
    mounted = Server.objects.filter(mounted__overlap=list(asked)).values_list("mounted", flat=True)
    return asked - known - {digest for one in mounted for digest in one}
