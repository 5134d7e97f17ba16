"""The file of tokens: what it may hold, how a token is recognised, and what a change of the file does."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from app.api import tokens as module
from app.api.token_entries import Role, Token, TypeRanges, UnusableTokens, parse_tokens
from app.api.tokens import Tokens
from app.serve.startup_refused import StartupRefused

SECRET = "a-token-of-many-letters"
SHA256 = hashlib.sha256(SECRET.encode()).hexdigest()


def entry(name: str = "one", secret: str = SECRET, role: str = "read", **more: object) -> dict[str, object]:
    return {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest(), "role": role, **more}


def toml(*entries: dict[str, object]) -> bytes:
    tables = ("".join(f"{name} = {json.dumps(value)}\n" for name, value in each.items()) for each in entries)
    return "".join(f"[[tokens]]\n{table}" for table in tables).encode()


def parse_one(**entry_: object) -> Token:
    (token,) = parse_tokens(json.dumps({"tokens": [entry(**entry_)]}).encode(), is_json=True)
    return token


def bearer(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)


def test_toml_and_json_say_the_same() -> None:
    """Name, digest, role, types."""
    entries = [entry("one"), entry("two", "other", "admin", types=[3, "5-7"])]
    for text, is_json in ((toml(*entries), False), (json.dumps({"tokens": entries}).encode(), True)):
        first, second = parse_tokens(text, is_json=is_json)
        assert (first.name, first.role, first.types) == ("one", Role.READ, None)
        assert (second.name, second.role) == ("two", Role.ADMIN)
        assert [second.reaches(type_) for type_ in (2, 3, 4, 5, 6, 7, 8)] == [
            False,
            True,
            False,
            True,
            True,
            True,
            False,
        ]


def test_upper_case_digests_are_the_same() -> None:
    """As some tools print them."""
    text = toml({**entry(), "sha256": SHA256.upper()})
    assert parse_tokens(text, is_json=False)[0].digest.hex() == SHA256


@pytest.mark.parametrize(
    "types",
    [[-1], [1 << 31], ["1"], ["1-"], ["-1"], ["01-2"], ["2-1"], ["1-2-3"], [" 1-2"], ["٣-٤"], [1.5], [True], "1-2"],
)
def test_what_are_no_types(types: object) -> None:
    """Types are numbers from 0 to 2^31-1, and ranges as "first-last"."""
    with pytest.raises(UnusableTokens, match="types"):
        parse_one(types=types)


def test_no_types_are_no_types() -> None:
    """An empty list reaches none, and does not mean all."""
    assert not parse_one(types=[]).reaches(0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "tokens: Field required"),
        (b"tokens = []", "tokens: List should have at least 1 item"),
        (b"tokens = 3", "tokens: "),
        (toml({**entry(), "extra": 1}), "extra"),
        (toml(entry(role="owner")), r"tokens\[0\].role"),
        (toml(entry(), {"name": "x", "role": "read"}), r"tokens\[1\].sha256: Field required"),
        (toml({**entry(), "sha256": SECRET}), r"tokens\[0\].sha256"),
        (toml(entry(name="")), r"tokens\[0\].name"),
        (toml(entry(), entry("two")), "two tokens have the same sha256"),
        (toml(entry(), entry(secret="other")), "two tokens have the same name"),
        (b"[[tokens", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"name = 'x'\n" * 2, "not TOML"),
    ],
)
def test_unusable_files(text: bytes, said: str) -> None:
    """Whoever wrote it is told where it is wrong; what stands there is not repeated: it may be a token."""
    with pytest.raises(UnusableTokens, match=said) as raised:
        parse_tokens(text, is_json=False)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"tokens": {}}', b'{"tokens": null}', b"nonsense", b"[" * 100_000])
def test_unusable_json(text: bytes) -> None:
    """The same in JSON."""
    with pytest.raises(UnusableTokens):
        parse_tokens(text, is_json=True)


def test_ranges_are_merged() -> None:
    """What touches or overlaps is one range, and is written as one."""
    assert repr(TypeRanges([(5, 9), (1, 1), (2, 3), (8, 12), (20, 20)])) == "1-3,5-12,20"


def loaded(path: Path, *entries: dict[str, object]) -> Tokens:
    path.write_bytes(toml(*entries))
    tokens = Tokens(path)
    tokens.load()
    return tokens


def test_a_token_is_recognised(tmp_path: Path) -> None:
    """By its text in a bearer's header, the scheme in any case; each time."""
    tokens = loaded(tmp_path / "tokens.toml", entry("one"), entry("two", "other"))
    for _ in range(2):
        for header in (bearer(SECRET), b"bearer " + SECRET.encode(), b"BEARER   " + SECRET.encode()):
            token = tokens.recognise(header)
            assert token is not None
            assert token.name == "one"
        assert tokens.recognise(bearer("other")).name == "two"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "header",
    [
        b"", b"Bearer", b"Bearer ", bearer(""), bearer("wrong"), bearer(SHA256), SECRET.encode(), bearer(SECRET + "x"),
        bearer(SECRET) + b" ", b" " + bearer(SECRET), bearer(SECRET) + b"\n", b"Basic " + SECRET.encode(),
        b"Bearer\t" + SECRET.encode(), bearer(SECRET) + b"," + bearer(SECRET), b"Bearer=" + SECRET.encode(),
        b"Bearer \xff", bearer(SECRET.upper()), bearer("x" * 100_000),
    ],
)  # fmt: skip
def test_others_are_not(tmp_path: Path, header: bytes) -> None:
    """Neither what only resembles it, nor the digest from the file."""
    assert loaded(tmp_path / "tokens.toml", entry()).recognise(header) is None


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    """Only good headers are, and of those at most a fixed number: blanks make many of one."""
    tokens = loaded(tmp_path / "tokens.toml", entry())
    for count in range(1, 3000):
        assert tokens.recognise(b"Bearer" + b" " * count + SECRET.encode()) is not None
        assert tokens.recognise(bearer(f"wrong-{count}")) is None
    assert len(tokens._remembered) <= module._MAX_REMEMBERED


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    """Neither tokens nor digests: names, roles and types."""
    tokens = loaded(tmp_path / "tokens.toml", entry(types=[1, "3-4"]))
    token = tokens.recognise(bearer(SECRET))
    assert repr(token) == "Token('one', read, types 1,3-4)"
    assert repr(tokens) == "Tokens(['one'])"


@pytest.mark.parametrize("text", [None, b"[[", b""])
def test_a_file_that_cannot_be_used_at_the_start(tmp_path: Path, text: bytes | None) -> None:
    """Refuses the start, in one line that names the setting and the file."""
    path = tmp_path / "tokens.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(StartupRefused) as refused:
        Tokens(path).load()
    assert str(refused.value).startswith(f"PAGEPOOL_TOKENS_FILE: {path}: ")
    assert "\n" not in str(refused.value)


def test_without_a_file_nobody_is_asked() -> None:
    """And nothing is watched."""

    async def story() -> None:
        tokens = Tokens(None)
        async with tokens.watched():
            assert not tokens.are_required
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())


async def until_it(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("quick")
def test_a_change_is_noticed(tmp_path: Path) -> None:
    """However it is made: in place with the same length, by another file in its place, by a link to another one."""

    async def story() -> None:
        first, second = tmp_path / "first.toml", tmp_path / "second.toml"
        path = tmp_path / "tokens.toml"
        first.write_bytes(toml(entry("one", "secret-1")))
        second.write_bytes(toml(entry("two", "secret-2")))
        path.symlink_to(first)
        tokens = Tokens(path)
        async with tokens.watched():

            def knows(secret: str) -> bool:
                return tokens.recognise(bearer(secret)) is not None

            assert knows("secret-1")
            (tmp_path / "link").symlink_to(second)
            (tmp_path / "link").rename(path)
            await until_it(lambda: knows("secret-2"))
            assert not knows("secret-1")
            second.write_bytes(toml(entry("two", "secret-3")))
            await until_it(lambda: knows("secret-3"))
            assert not knows("secret-2")
            (tmp_path / "new").write_bytes(toml(entry("two", "secret-4")))
            (tmp_path / "new").rename(path)
            await until_it(lambda: knows("secret-4"))

    asyncio.run(story())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("text", [None, b"[[", b"", toml(entry(role="owner"))])
def test_a_broken_change_changes_nothing(tmp_path: Path, text: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, once; the tokens before it stay until a file that can be used is there."""

    async def story() -> None:
        path = tmp_path / "tokens.toml"
        path.write_bytes(toml(entry()))
        tokens = Tokens(path)
        async with tokens.watched():
            if text is None:
                path.unlink()
            else:
                path.write_bytes(text)
            await until_it(lambda: "cannot be used" in caplog.text)
            await asyncio.sleep(0.1)
            assert caplog.text.count("cannot be used") == 1
            assert tokens.recognise(bearer(SECRET)) is not None
            path.write_bytes(toml(entry("new", "other")))
            await until_it(lambda: tokens.recognise(bearer("other")) is not None)
            assert tokens.recognise(bearer(SECRET)) is None
        assert SECRET not in caplog.text

    asyncio.run(story())


@pytest.mark.usefixtures("quick")
def test_requests_under_way_are_counted_across_a_change(tmp_path: Path) -> None:
    """A token that stays keeps its count; its role and types are the new ones."""

    async def story() -> None:
        path = tmp_path / "tokens.toml"
        path.write_bytes(toml(entry()))
        tokens = Tokens(path)
        async with tokens.watched():
            before = tokens.recognise(bearer(SECRET))
            assert before is not None
            before.use.requests += 1
            path.write_bytes(toml(entry(role="admin")))
            await until_it(lambda: tokens.recognise(bearer(SECRET)).role is Role.ADMIN)  # type: ignore[union-attr]
            after = tokens.recognise(bearer(SECRET))
            assert after is not None
            assert after.use.requests == 1
            before.use.requests -= 1
            assert after.use.requests == 0

    asyncio.run(story())
