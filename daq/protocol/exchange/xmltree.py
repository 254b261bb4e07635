"""XML of others as a small tree with line numbers: bounded, without document types and entities."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from xml.sax import SAXException
from xml.sax.handler import ContentHandler

from defusedxml.common import DefusedXmlException
from defusedxml.sax import parse

from daq.errors import InputError, Place

LARGEST = 4 << 20  # bytes
_DEEPEST = 16
_MOST_NODES = 100_000
_LONGEST_TEXT = 10_000


@dataclass(slots=True)
class Node:
    """An element; attributes are not kept."""

    tag: str
    line: int
    children: list[Node] = field(default_factory=list["Node"])
    text: str = ""

    def child(self, tag: str) -> Node | None:
        """The first of that name."""
        return next((one for one in self.children if one.tag == tag), None)

    def value(self, tag: str) -> str:
        """The text of a child, stripped; empty where there is none."""
        found = self.child(tag)
        return found.text.strip() if found else ""


def read(content: bytes, file: str) -> Node:
    """The top element.

    Raises:
        InputError: it is not XML, or not the modest kind that is taken.
    """
    if len(content) > LARGEST:
        raise InputError(f"{file} is larger than {LARGEST >> 20} MiB")
    builder = _Builder(file)
    try:
        parse(BytesIO(content), builder, forbid_dtd=True, forbid_entities=True)
    except DefusedXmlException as error:
        place = Place(file, 1, 1)
        raise InputError("document types and entities are not allowed", place=place) from error
    except (SAXException, ValueError, LookupError) as error:
        line = getattr(error, "getLineNumber", lambda: 1)() or 1
        message = str(getattr(error, "getMessage", type(error).__name__.__str__)())
        raise InputError(f"not XML: {message[:200]}", place=Place(file, line, 1)) from error
    if builder.top is None:
        raise InputError(f"{file} holds no element")
    return builder.top


class _Builder(ContentHandler):
    def __init__(self, file: str) -> None:
        super().__init__()
        self.top: Node | None = None
        self._file = file
        self._open: list[Node] = []
        self._count = 0
        self._locator: Any = None

    def setDocumentLocator(self, locator: Any) -> None:  # noqa: D102 - of the standard library
        self._locator = locator

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: D102
        self._count += 1
        if self._count > _MOST_NODES or len(self._open) >= _DEEPEST:
            raise self._refused("too many elements, or nested too deep")
        node = Node(name, self._line())
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.top = node
        self._open.append(node)

    def endElement(self, name: str) -> None:  # noqa: D102
        self._open.pop()

    def characters(self, content: str) -> None:  # noqa: D102
        node = self._open[-1]
        node.text += content
        if len(node.text) > _LONGEST_TEXT:
            raise self._refused("a text is too long")

    def _line(self) -> int:
        return self._locator.getLineNumber() or 1

    def _refused(self, message: str) -> InputError:
        return InputError(message, place=Place(self._file, self._line(), 1))
