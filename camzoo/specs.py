"""Names of computations: `method`, `method@backend`, `method(option=value)@backend`, and lists with wildcards."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from camzoo import backends, native
from camzoo.errors import RequestError, unknown


@dataclass(frozen=True, slots=True)
class Computation:
    """One method at one backend, with its options.

    Attributes:
        method: canonical name.
        backend: who computes it.
        options: keyword options of the method.
    """

    method: str
    backend: str = native.NAME
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        call = f"{self.method}({options})" if options else self.method
        return call if self.backend == native.NAME else f"{call}@{self.backend}"


def parse(text: str) -> Computation:
    """The computation that a text names.

    Raises:
        RequestError: the text is malformed, or names a method, option or backend that nobody has.
    """
    call, at, backend = _at(text)
    name, options = _call(call, text)
    backend = backends.find(backend).name if at else native.NAME
    known: dict[str, set[str]] = {}
    for found in backends.found().values():
        for offer in found.offers:
            known.setdefault(offer.method, set()).update(offer.options)
    if name not in known:
        raise unknown("method", name, known)
    for option in options:
        if option not in known[name]:  # at any backend: a slip; one that only others have is not offered
            raise unknown(f"option of {name}", option, known[name])
    return Computation(name, backend, options)


def expand(wanted: str | Iterable[str]) -> list[Computation]:
    """Every computation that a list names, each once, in order.

    Args:
        wanted: names, or one text with commas between them. `*` stands for any method or any backend; it expands to
            what is offered, whether installed or not.

    Raises:
        RequestError: a name is unknown, or the list names nothing.
    """
    texts = [text for entry in ([wanted] if isinstance(wanted, str) else wanted) for text in _split(entry)]
    named: dict[str, Computation] = {}
    for text in texts:
        for computation in _wildcard(text) if "*" in text else [parse(text)]:
            named.setdefault(str(computation), computation)
    if not named:
        raise RequestError("no method is named; `camzoo methods` lists them")
    return list(named.values())


def _wildcard(text: str) -> list[Computation]:
    method, at, backend = _at(text)
    if (method != "*" and "*" in method) or (backend != "*" and "*" in backend):
        raise RequestError(f"{text!r}: a star stands for a whole name, as in *@captum, gradcam@* or *@*")
    options: Mapping[str, Any] = {}
    if method != "*":
        named = parse(method)
        method, options = named.method, named.options
    hosts = backends.found() if backend == "*" else {found.name: found for found in [_host(backend, at)]}
    return [
        Computation(offer.method, host.name, options)
        for host in hosts.values()
        for offer in host.offers
        if method in ("*", offer.method)
    ]


def _at(text: str) -> tuple[str, str, str]:
    """The parts before and after the sign `@` that stands outside brackets."""
    close = text.rfind(")") + 1
    call, at, backend = text[close:].partition("@")
    return (text[:close] + call).strip(), at, backend.strip()


def _host(name: str, given: str) -> Any:
    return backends.find(name if given else native.NAME)


def _split(text: str) -> list[str]:
    """Splits at the commas that stand outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (letter in "([{") - (letter in ")]}") if not quote else 0
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _call(call: str, text: str) -> tuple[str, dict[str, Any]]:
    """A name and its options from `name` or `name(option=value, ...)`, where values are Python literals."""
    name, bracket, rest = call.partition("(")
    if not bracket:
        return name, {}
    try:
        node = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
            raise ValueError
        options = {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg}
        if len(options) < len(node.keywords):  # f(**x), or a name given twice
            raise ValueError
        return name.strip(), options
    except (SyntaxError, ValueError, TypeError):
        raise RequestError(f"{text!r}: options are written as in scorecam(top_channels=64)") from None


def _literal(node: ast.expr) -> Any:
    """A literal; a bare word is read as a text, and true and false as in other languages."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False}.get(node.id, node.id)
    return ast.literal_eval(node)
