"""The runbook has one page for each alarm, whole, and its links lead somewhere."""

import re

import pytest

from deploy.cdk.alarms import service_watches, watches
from deploy.cdk.names import Names
from deploy.cdk.profiles import PROFILES
from local.paths import checkout

PAGES = checkout() / "docs" / "runbook"
GENERAL = {"README", "disaster-recovery", "upgrades"}
ALARMS = sorted(
    {watch.name for size in PROFILES.values() for watch in watches(Names("p"), size, "api")}
    | {watch.name for watch in service_watches(Names("p"), "balancer")}
    | {"budget"}
)


def test_there_is_a_page_for_each_alarm_and_none_for_others() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - GENERAL == set(ALARMS)


@pytest.mark.parametrize("name", ALARMS)
def test_a_page_says_what_it_means_the_first_command_and_how_to_go_back(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    found = re.findall(r"\*\*(.+?)\.\*\*", text)
    assert [part for part in found if part in {"Means", "First command", "Then", "Going back"}] == [
        "Means",
        "First command",
        "Then",
        "Going back",
    ]
    assert re.search(r"```sh\n(aws|make) ", text)


def test_every_page_is_in_the_index_and_every_link_leads_somewhere() -> None:
    index = (PAGES / "README.md").read_text()
    assert all(f"({name}.md)" in index for name in ALARMS)
    for page in PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).resolve().exists(), f"{page.name} → {target}"
