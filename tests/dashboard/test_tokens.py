"""With tokens the dashboard asks for one, and keeps it in its tab only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.dashboard.board import Board
from tests.harness import pages
from tests.harness.service import Service

OWN_SERVICE = True
SECRETS = {role: f"{role}-token-of-many-letters" for role in ("read", "admin", "some")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for tokens and holds pages in types 5 and 6."""
    path: Path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    digests = {name: hashlib.sha256(secret.encode()).hexdigest() for name, secret in SECRETS.items()}
    entries = [
        {"name": "reader", "sha256": digests["read"], "role": "read"},
        {"name": "admin", "sha256": digests["admin"], "role": "admin"},
        {"name": "some types", "sha256": digests["some"], "role": "read", "types": [5]},
    ]
    path.write_text(json.dumps({"tokens": entries}), encoding="utf-8")
    with Service(tokens_file=str(path), max_pool_bytes="0") as running:
        headers = {"Authorization": f"Bearer {SECRETS['admin']}", "Content-Type": "application/octet-stream"}
        for type_ in (5, 6):
            answer = running.client.put(f"/v1/pages/{type_}/0", content=pages.zero() * 9, headers=headers)
            assert answer.status_code == 204, answer.text
        yield running


@pytest.fixture
def asked(open_board: Callable[..., Board], guarded: Service) -> Board:
    """The dashboard, which asks for a token."""
    board = open_board(guarded, waits=False)
    board.page.goto(guarded.origin + "/")
    expect(board.by_id("token-dialog")).to_be_visible()
    return board


def give(board: Board, token: str) -> None:
    board.by_id("token").fill(token)
    board.page.get_by_role("button", name="Use it").click()


def test_a_wrong_token_is_refused(asked: Board) -> None:
    """It says why, shows no number, and asks again."""
    give(asked, "wrong")
    expect(asked.by_id("token-why")).to_contain_text("token")
    expect(asked.by_id("token-dialog")).to_be_visible()
    assert asked.value("stored-pages") is None


def test_a_read_token_shows_all_and_changes_nothing(asked: Board, guarded: Service) -> None:
    """Numbers come; a change is refused with the problem's detail, and an admin's token makes it."""
    give(asked, SECRETS["read"])
    expect(asked.by_id("stored-pages")).to_have_text("18")
    asked.change(accept_threshold_percent="55")
    expect(asked.by_id("parameters-said")).to_contain_text("needs the role admin")
    asked.by_id("token-button").click()
    give(asked, SECRETS["admin"])
    asked.by_id("apply").click()
    expect(asked.by_id("parameters-said")).to_contain_text("90 % → 55 %")
    bearer = {"Authorization": f"Bearer {SECRETS['read']}"}
    assert guarded.client.get("/v1/parameters", headers=bearer).json()["accept_threshold_percent"] == 55


def test_the_token_stays_in_the_tab(asked: Board) -> None:
    """It lives in sessionStorage alone, survives a reload, and can be forgotten."""
    give(asked, SECRETS["read"])
    expect(asked.by_id("link-text")).to_have_text("live")
    kept = asked.page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
    assert kept == [[SECRETS["read"]], [], ""]
    asked.page.reload()
    expect(asked.by_id("link-text")).to_have_text("live")
    asked.by_id("token-button").click()
    asked.by_id("token-forget").click()
    expect(asked.by_id("token-dialog")).to_be_visible()
    assert asked.page.evaluate("sessionStorage.length") == 0


def test_a_token_for_some_types_sees_those(asked: Board) -> None:
    """The pool's sums, its own types and their maps; no tunables, no activity."""
    give(asked, SECRETS["some"])
    expect(asked.by_id("stored-pages")).to_have_text("18")
    expect(asked.page.locator("#types-rows tr")).to_have_count(1)
    asked.map.until_ready(9)
    expect(asked.by_id("parameters-section")).to_be_hidden()
    expect(asked.by_id("activity-section")).to_be_hidden()
