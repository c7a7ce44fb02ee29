"""All writes to servers, by theme. Views, the API, admin, job kinds and the agent call `services.…`.

Every argument is by keyword; `by` is who acts (None: the portal itself). Callers have asked `servers.access`
already, but where a rule goes beyond one right of a member: then the service asks, for pages, API and admin alike.
Refusals are `servers.errors.ServerError`, or `servers.games.SettingsError` for settings by key.
"""

from servers.services.commands import ask_settings, send_command
from servers.services.common import forget_events
from servers.services.creation import change_settings, clone_server, create_server, reserve_copy, update_settings
from servers.services.deletion import (
    delete_for_good,
    delete_server,
    finish_put_away,
    forget_server,
    outlived,
    purge_server,
    request_purge,
    restore_server,
)
from servers.services.disk_use import record_disk
from servers.services.file_changes import (
    finish_reverts,
    keep_files,
    look_at_files,
    record_installation_files,
    record_look,
    revert_files,
)
from servers.services.following import delete_blueprint, set_following
from servers.services.installations import (
    begin_build,
    clean_up_game,
    clean_up_lost_builds,
    fail_build,
    finish_version,
    folder,
    forget_held,
    hold_version,
    install_game,
    name_build,
    reuse_version,
)
from servers.services.layer_cleaning import forget_lost_builds, request_cleaning
from servers.services.layers import (
    build_layer,
    change_layer,
    change_script,
    change_source,
    create_layer,
    delete_layer,
    finish_build,
    record_items,
    request_refreshes,
    write_layer_file,
)
from servers.services.limits import save_blueprint, set_limits
from servers.services.moderation import (
    ask_mode,
    ban_player,
    call_roll,
    change_level,
    kick_player,
    levels,
    list_players,
    say,
)
from servers.services.observing import beat, record_host_report, record_query, record_unit
from servers.services.own_files import delete_own_file, write_own_file
from servers.services.power import record_start, restart_server, start_server, stop_server, stop_servers_of, take_up
from servers.services.quotas import note_use, refuse_beyond
from servers.services.samples import clear_samples, record_samples
from servers.services.sending import answer_command, hide_secrets, take_commands
from servers.services.sharing import share_server, transfer_server, unshare_server
from servers.services.stacks import (
    add_slot,
    add_to_stack,
    copy_stack,
    drop_slot,
    fill_slot,
    move_in_stack,
    remove_from_stack,
    replace_stack,
    stack_version,
)
from servers.services.updates import record_newest, request_check, request_due_checks, set_auto_update
from servers.services.uploads import (
    begin_upload,
    continue_upload,
    discard_stale_uploads,
    discard_upload,
    finish_upload,
)
from servers.services.versions import forget_version, promote_version, unused_versions, use_current_version
from servers.services.waiting import (
    cancel_waiting,
    carry_out,
    count_down,
    give_up,
    tell_players,
    wait_until_empty,
)

__all__ = [
    "add_slot",
    "add_to_stack",
    "answer_command",
    "ask_mode",
    "ask_settings",
    "ban_player",
    "beat",
    "begin_build",
    "begin_upload",
    "build_layer",
    "call_roll",
    "cancel_waiting",
    "carry_out",
    "change_layer",
    "change_level",
    "change_script",
    "change_settings",
    "change_source",
    "clean_up_game",
    "clean_up_lost_builds",
    "clear_samples",
    "clone_server",
    "continue_upload",
    "copy_stack",
    "count_down",
    "create_layer",
    "create_server",
    "delete_blueprint",
    "delete_for_good",
    "delete_layer",
    "delete_own_file",
    "delete_server",
    "discard_stale_uploads",
    "discard_upload",
    "drop_slot",
    "fail_build",
    "fill_slot",
    "finish_build",
    "finish_put_away",
    "finish_reverts",
    "finish_upload",
    "finish_version",
    "folder",
    "forget_events",
    "forget_held",
    "forget_lost_builds",
    "forget_server",
    "forget_version",
    "give_up",
    "hide_secrets",
    "hold_version",
    "install_game",
    "keep_files",
    "kick_player",
    "levels",
    "list_players",
    "look_at_files",
    "move_in_stack",
    "name_build",
    "note_use",
    "outlived",
    "promote_version",
    "purge_server",
    "record_disk",
    "record_host_report",
    "record_installation_files",
    "record_items",
    "record_look",
    "record_newest",
    "record_query",
    "record_samples",
    "record_start",
    "record_unit",
    "refuse_beyond",
    "remove_from_stack",
    "replace_stack",
    "request_check",
    "request_cleaning",
    "request_due_checks",
    "request_purge",
    "request_refreshes",
    "reserve_copy",
    "restart_server",
    "restore_server",
    "reuse_version",
    "revert_files",
    "save_blueprint",
    "say",
    "send_command",
    "set_auto_update",
    "set_following",
    "set_limits",
    "share_server",
    "stack_version",
    "start_server",
    "stop_server",
    "stop_servers_of",
    "take_commands",
    "take_up",
    "tell_players",
    "transfer_server",
    "unshare_server",
    "unused_versions",
    "update_settings",
    "use_current_version",
    "wait_until_empty",
    "write_layer_file",
    "write_own_file",
]
