"""The map of the pages about servers. “new-server” stands apart, since a server may be called “new”."""

from django.urls import path, re_path

from servers import actions, installation_views, layer_views, panel, stack_views, upload_views, views

app_name = "servers"
HOLDER = r"^(?P<kind>servers|blueprints)/(?P<name>[-\w]+)/layers/"
urlpatterns = [
    path("", views.server_list, name="list"),
    path("parts/servers/", views.list_part, name="list_part"),
    path("new-server/", actions.new_server, name="new"),
    path("new-server/name/", actions.name_hint, name="name_hint"),
    path("servers/<slug:name>/", views.overview, name="overview"),
    path("servers/<slug:name>/history/", views.history, name="history"),
    path("servers/<slug:name>/settings/", actions.settings, name="settings"),
    path("servers/<slug:name>/people/", actions.people, name="people"),
    path("servers/<slug:name>/people/<int:user_id>/remove/", actions.unshare, name="unshare"),
    path("servers/<slug:name>/delete/", actions.delete, name="delete"),
    path("servers/<slug:name>/command/", actions.rcon, name="rcon"),
    path("servers/<slug:name>/players/", panel.players, name="players"),
    path("servers/<slug:name>/players/<int:player>/kick/", panel.kick, name="kick"),
    path("servers/<slug:name>/players/<int:player>/ban/", panel.ban, name="ban"),
    path("servers/<slug:name>/say/", panel.say, name="say"),
    path("servers/<slug:name>/level/", panel.change_level, name="change_level"),
    path("servers/<slug:name>/parts/players/", panel.players_part, name="players_part"),
    re_path(r"^servers/(?P<name>[-\w]+)/(?P<verb>start|stop|restart)/$", actions.power, name="power"),
    path("servers/<slug:name>/parts/card/", views.card_part, name="card_part"),
    path("servers/<slug:name>/parts/history/", views.history_part, name="history_part"),
    path("servers/<slug:name>/parts/people/", actions.people_part, name="people_part"),
    re_path(r"^servers/(?P<name>[-\w]+)/parts/(?P<part>head|side)/$", views.part, name="part"),
    path("installations/", installation_views.installations, name="installations"),
    path("installations/<int:pk>/promote/", installation_views.promote, name="promote"),
    path("installations/<slug:node>/<slug:game>/part/", installation_views.part, name="installation_part"),
    path("installations/<slug:node>/<slug:game>/install/", installation_views.install, name="install"),
    path("installations/<slug:node>/<slug:game>/clean-up/", installation_views.clean_up, name="clean_up"),
    path("layers/", layer_views.layer_list, name="layers"),
    path("parts/layers/", layer_views.layer_list_part, name="layers_part"),
    path("new-layer/", layer_views.new_layer, name="layer_new"),
    path("layers/<slug:slug>/", layer_views.layer, name="layer"),
    path("layers/<slug:slug>/part/", layer_views.layer_part, name="layer_part"),
    path("layers/<slug:slug>/change/", layer_views.change_layer, name="layer_change"),
    path("layers/<slug:slug>/rebuild/", layer_views.rebuild, name="layer_rebuild"),
    path("layers/<slug:slug>/delete/", layer_views.delete_layer, name="layer_delete"),
    path("layers/<slug:slug>/items/", layer_views.workshop_items, name="layer_items"),
    path("layers/<slug:slug>/file/", layer_views.layer_file, name="layer_file"),
    path("uploads/", upload_views.begin, name="upload_begin"),
    path("uploads/<uuid:key>/", upload_views.upload, name="upload"),
    re_path(rf"{HOLDER}$", stack_views.show_stack, name="stack_show"),
    re_path(rf"{HOLDER}part/$", stack_views.stack_part, name="stack_part"),
    re_path(rf"{HOLDER}add/$", stack_views.add, name="stack_add"),
    re_path(rf"{HOLDER}(?P<layer>\d{{1,18}})/move/$", stack_views.move, name="stack_move"),
    re_path(rf"{HOLDER}(?P<layer>\d{{1,18}})/remove/$", stack_views.remove, name="stack_remove"),
]
