"""`python -m openapi.breaking`: what a client of the last released description would trip over (`make breaking`).

`changes` lists what is gone or narrower: what a client may send must stay accepted, what an answer held must stay in
it. Additions are free: calls, optional parameters, answers, properties of answers, words that an answer may hold.
`refusals` allows all of it once the major version has moved. A release copies openapi.json to released.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from openapi.tools import DOCUMENT, RELEASED

Json = Mapping[str, Any]

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LOWER_BOUNDS: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER_BOUNDS: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def refusals(released: Json, current: Json) -> list[str]:
    """The breaking changes that the version does not announce."""
    if _major(current) > _major(released):
        return []
    return changes(released, current)


def changes(released: Json, current: Json) -> list[str]:
    """Every breaking change, a line each, by path and method."""
    return list(_Comparison(released, current).of_paths())


def _major(document: Json) -> int:
    return int(document["info"]["version"].split(".")[0])


class _Comparison:
    def __init__(self, released: Json, current: Json) -> None:
        self.released = released
        self.current = current

    def of_paths(self) -> Iterator[str]:
        for path, before in self.released["paths"].items():
            after = self.current["paths"].get(path)
            if after is None:
                yield f"{path}: the path is gone"
                continue
            for method in _METHODS:
                if method in before:
                    where = f"{method.upper()} {path}"
                    if method in after:
                        yield from self._of_operation(where, before[method], after[method])
                    else:
                        yield f"{where}: the call is gone"

    def _of_operation(self, where: str, before: Json, after: Json) -> Iterator[str]:
        for name in ("operationId", "tags"):  # what generators name functions and modules after
            if before.get(name) != after.get(name):
                yield f"{where}: {name} was {before.get(name)}, is {after.get(name)}"
        yield from _of_security(where, before, after)
        yield from self._of_parameters(where, before, after)
        yield from self._of_request(where, before, after)
        yield from self._of_responses(where, before, after)

    def _of_parameters(self, where: str, before: Json, after: Json) -> Iterator[str]:
        old = {_parameter_key(each): each for each in before.get("parameters", ())}
        new = {_parameter_key(each): each for each in after.get("parameters", ())}
        for key, parameter in old.items():
            place, name = key[0], parameter["name"]
            if key not in new:
                yield f"{where}: {place} parameter {name} is gone"
                continue
            if new[key].get("required") and not parameter.get("required"):
                yield f"{where}: {place} parameter {name} is required now"
            yield from self._of_sent(f"{where}: {place} parameter {name}", parameter["schema"], new[key]["schema"])
        for (place, name), parameter in new.items():
            if (place, name) not in old and parameter.get("required"):
                yield f"{where}: {place} parameter {name} is new and required"

    def _of_request(self, where: str, before: Json, after: Json) -> Iterator[str]:
        old, new = before.get("requestBody"), after.get("requestBody")
        if new is not None and new.get("required") and not (old or {}).get("required"):
            yield f"{where}: a body is required now"
        for media_type, media in (old or {}).get("content", {}).items():
            accepted = (new or {}).get("content", {})
            if media_type not in accepted:
                yield f"{where}: {media_type} is no longer accepted"
                continue
            yield from self._of_sent(f"{where}: body", media.get("schema", {}), accepted[media_type].get("schema", {}))

    def _of_responses(self, where: str, before: Json, after: Json) -> Iterator[str]:
        for status, old in before["responses"].items():
            new = after["responses"].get(status)
            if new is None:
                yield f"{where}: the answer {status} is gone"
                continue
            for name in old.get("headers", {}):
                if name not in new.get("headers", {}):
                    yield f"{where}: {status} has lost the header {name}"
            for media_type, media in old.get("content", {}).items():
                answered = new.get("content", {})
                if media_type not in answered:
                    yield f"{where}: {status} is no longer answered as {media_type}"
                    continue
                yield from self._of_answered(f"{where}: {status}", media["schema"], answered[media_type]["schema"])

    def _of_sent(self, where: str, before: Json, after: Json, seen: tuple[str, ...] = ()) -> Iterator[str]:
        """What a client sends must fit the new schema."""
        if after.get("$ref") in seen:
            return
        seen = (*seen, after.get("$ref", ""))
        old, new = _resolved(before, self.released), _resolved(after, self.current)
        yield from _of_type(where, old, new)
        if _words(new) and not _words(old):
            yield f"{where} takes certain words only now"
        elif _words(new):
            yield from (f"{where} no longer takes {word}" for word in sorted(_words(old) - _words(new)))
        yield from _of_bounds(where, old, new)
        for name, schema in old.get("properties", {}).items():
            if name in new.get("properties", {}):
                yield from self._of_sent(f"{where}.{name}", schema, new["properties"][name], seen)
            elif new.get("additionalProperties", True) is False:
                yield f"{where}.{name} is no longer taken"
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield f"{where}.{name} is required now"
        if "items" in old and "items" in new:
            yield from self._of_sent(f"{where}[]", old["items"], new["items"], seen)

    def _of_answered(self, where: str, before: Json, after: Json, seen: tuple[str, ...] = ()) -> Iterator[str]:
        """What a client reads must still be there, of the same type."""
        if before.get("$ref") in seen:
            return
        seen = (*seen, before.get("$ref", ""))
        old, new = _resolved(before, self.released), _resolved(after, self.current)
        yield from _of_type(where, old, new)
        for name, schema in old.get("properties", {}).items():
            if name not in new.get("properties", {}):
                yield f"{where}.{name} is gone"
                continue
            if name in old.get("required", ()) and name not in new.get("required", ()):
                yield f"{where}.{name} may be left out now"
            yield from self._of_answered(f"{where}.{name}", schema, new["properties"][name], seen)
        if "items" in old and "items" in new:
            yield from self._of_answered(f"{where}[]", old["items"], new["items"], seen)


def _parameter_key(parameter: Json) -> tuple[str, str]:
    return parameter["in"], parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]


def _resolved(schema: Json, document: Json) -> Json:
    while "$ref" in schema:
        node: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        schema = node
    return schema


def _types(schema: Json) -> frozenset[tuple[str, str]]:
    """Type and format of a schema, or of each of its choices."""
    if "anyOf" in schema:
        return frozenset().union(*(_types(choice) for choice in schema["anyOf"]))
    return frozenset({(schema.get("type", schema.get("$ref", "")), schema.get("format", ""))})


def _of_type(where: str, old: Json, new: Json) -> Iterator[str]:
    if _types(old) != _types(new):
        before, after = (" or ".join(" ".join(filter(None, each)) for each in sorted(_types(s))) for s in (old, new))
        yield f"{where} was {before}, is {after}"


def _words(schema: Json) -> set[str]:
    return {str(word) for word in schema.get("enum", [schema["const"]] if "const" in schema else ())}


def _of_bounds(where: str, old: Json, new: Json) -> Iterator[str]:
    for name in _LOWER_BOUNDS:
        if name in new and new[name] > old.get(name, float("-inf")):
            yield f"{where}: {name} was {old.get(name, 'none')}, is {new[name]}"
    for name in _UPPER_BOUNDS:
        if name in new and new[name] < old.get(name, float("inf")):
            yield f"{where}: {name} was {old.get(name, 'none')}, is {new[name]}"
    if new.get("pattern", old.get("pattern")) != old.get("pattern"):
        yield f"{where}: pattern was {old.get('pattern', 'none')}, is {new['pattern']}"


def _of_security(where: str, before: Json, after: Json) -> Iterator[str]:
    """Another requirement may shut clients out; to ask for nothing never does."""
    old, new = before.get("security", []), after.get("security", [])
    if new != old and new not in ([], [{}]):
        yield f"{where}: security was {json.dumps(old)}, is {json.dumps(new)}"


def main() -> int:
    """Compare openapi.json with released.json."""
    if not RELEASED.exists():
        print("nothing was released yet")  # noqa: T201 - a command's answer
        return 0
    released, current = (json.loads(path.read_text(encoding="utf-8")) for path in (RELEASED, DOCUMENT))
    found = refusals(released, current)
    for line in found:
        print(line)  # noqa: T201 - as above
    if found:
        print(f"{len(found)} breaking changes: move the major version, or take them back")  # noqa: T201 - as above
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
