"""The admin's page Hosts: what the doctor last found on each node, with the proof of each running server's mount."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from jobs.admin_base import ReadOnlyAdmin
from servers.models import HostReport

MOUNT = "mount of "


@admin.register(HostReport)
class HostReportAdmin(ReadOnlyAdmin):
    """Written by `manage.py doctor --save`, which left4me-doctor.timer runs."""

    list_display = ("node", "health", "proven", "at")
    list_select_related = ("node",)
    fields = ("node", "at", "findings")
    actions = ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @display(description="Health", label={"sound": "success", "wrong": "danger"})
    def health(self, report: HostReport) -> tuple[str, str]:
        return ("wrong", f"{len(report.wrong)} wrong") if report.wrong else ("sound", "sound")

    @admin.display(description="Mounts proven")
    def proven(self, report: HostReport) -> str:
        mounts = [check["state"] for check in report.checks if check["name"].startswith(MOUNT)]
        return f"{mounts.count('ok')} of {len(mounts)}"

    @admin.display(description="Findings")
    def findings(self, report: HostReport) -> SafeString:
        rows = [(check["state"], check["name"], check["detail"]) for check in report.checks]
        row = '<tr><td class="pr-4">{}</td><th scope="row" class="pr-4 text-left">{}</th><td>{}</td></tr>'
        return format_html("<table><tbody>{}</tbody></table>", format_html_join("", row, rows))
