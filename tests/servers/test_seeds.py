"""What a fresh database starts with, and that it stays as an admin leaves it."""

from django.conf import settings

from servers import games, seeds
from servers.models import Blueprint, Node
from tests.servers.racing import race


def test_every_blueprint_fits_its_game(db):
    assert seeds.seed_blueprints() == Blueprint.objects.count() >= 5
    assert {blueprint.game for blueprint in Blueprint.objects.all()} == set(games.all_games())
    for blueprint in Blueprint.objects.all():
        assert games.get(blueprint.game).clean_settings(blueprint.settings) == blueprint.settings


def test_what_an_admin_changed_or_deleted_stays_so(db):
    seeds.seed_blueprints()
    Blueprint.objects.filter(slug="openarena").delete()
    Blueprint.objects.filter(slug="practice").update(name="Try it")
    assert seeds.seed_blueprints() == 0
    assert not Blueprint.objects.filter(slug="openarena").exists()
    assert Blueprint.objects.get(slug="practice").name == "Try it"


def test_processes_that_start_together_make_one_of_each(transactional_db):
    race([seeds.seed_blueprints, seeds.seed_blueprints, seeds.ensure_node, seeds.ensure_node])
    assert Node.objects.get().slug == settings.NODE
    assert Blueprint.objects.count() == len(seeds.BLUEPRINTS)
