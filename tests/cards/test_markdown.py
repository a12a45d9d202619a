"""What a file says reaches a card as data, whatever markup, code or control characters are in it."""

from __future__ import annotations

import ast
import dataclasses
import itertools
from pathlib import Path

import msgspec
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

import nfexport
from nfexport.cards.composition import describe
from nfexport.cards.document import render
from nfexport.cards.markdown import Markdown, address, block, code, licence, link, literal, paragraphs, printed, text
from nfexport.cards.styles import available_styles
from nfexport.inspection import FileFacts
from nfexport.recipe.about import About, Accuracy

HOSTILE = [
    "# heading",
    "a\n# heading\n\n- entry",
    "---",
    "===",
    "+ entry",
    "1. entry",
    " 12) entry",
    "> quoted",
    "~~~\ncode\n~~~",
    "```sh\nrm -rf /\n```",
    "`code` and ``more`",
    "**bold** *it* _it_ __b__ ~~gone~~",
    "[label](https://example.org) ![image](x.png)",
    "[x]: https://example.org",
    "<script>alert(1)</script><!-- x",
    "<https://example.org>",
    "&lt;b&gt; &#60; & co",
    "a | b |\n|---|---|\n| c | d |",
    "\\` \\* \\",
    "    indented",
    "\t\x1b[31mred\x1b[0m\x07 \u202eback\ud800",
    "{{ 7 * 7 }} {% raw %}",
    "\"quotes\" and 'quotes'",
    "$x^2$",
]
SHOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def inlines(markdown: str) -> list[Token]:
    return list(itertools.chain.from_iterable(token.children or [] for token in SHOWN.parse(markdown)))


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    ("place", "frame"),
    [
        ("{}", ["paragraph_open", "inline", "paragraph_close"]),
        ("# {}", ["heading_open", "inline", "heading_close"]),
        ("before\n{}", ["paragraph_open", "inline", "paragraph_close"]),
    ],
)
def test_text_stays_text_where_it_stands(value: str, place: str, frame: list[str]) -> None:
    markdown = place.format(text(value))
    assert [token.type for token in SHOWN.parse(markdown)] == frame
    assert {token.type for token in inlines(markdown)} <= {"text", "text_special", "softbreak"}


@pytest.mark.parametrize("value", HOSTILE)
def test_text_shows_what_was_written(value: str) -> None:
    (inline,) = (token for token in SHOWN.parse(text(value)) if token.type == "inline")
    shown = "".join(token.content for token in inline.children or [])
    assert (
        shown.split()
        == "".join("\ufffd" if character in "\x1b\x07\u202e\ud800" else character for character in value).split()
    )


@pytest.mark.parametrize("value", HOSTILE)
def test_a_table_keeps_its_cells(value: str) -> None:
    for cell in (text(value), code(value).replace("|", "\\|")):
        rows = SHOWN.parse(f"| a | b |\n| - | - |\n| {cell} | x |")
        assert [token.type for token in rows].count("td_open") == 2
        assert [token.content for token in rows if token.type == "inline"][-1] == "x"


@pytest.mark.parametrize("value", HOSTILE)
def test_code_is_code_to_its_end(value: str) -> None:
    (span,) = inlines(code(value))
    assert span.type == "code_inline"
    (fence,) = SHOWN.parse(block(value, "sh"))
    assert (fence.type, fence.info) == ("fence", "sh")
    assert "\x1b" not in fence.content


@pytest.mark.parametrize("value", HOSTILE)
def test_paragraphs_are_paragraphs(value: str) -> None:
    assert {token.type for token in SHOWN.parse(paragraphs(value))} <= {"paragraph_open", "inline", "paragraph_close"}
    assert {token.type for token in inlines(paragraphs(value))} <= {"text", "text_special", "softbreak"}


@pytest.mark.parametrize("value", [*HOSTILE, "\U0001f600", "é", "\u2028", "'\"\\"])
def test_a_literal_is_one_ascii_string(value: str) -> None:
    assert ast.literal_eval(literal(value)) == value
    assert literal(value).isascii()
    assert "\n" not in literal(value)


def test_only_plain_addresses_become_links() -> None:
    assert link("the original", "https://example.org/a_b?c=d#e") == "[the original](https://example.org/a_b?c=d#e)"
    for bad in ("javascript:alert(1)", "https://x) [y](z", "https://x y", "file:///etc/passwd", "https://x/<b>"):
        assert link("[the] original", bad) == "\\[the\\] original"
        assert {token.type for token in inlines(address(bad))} <= {"text", "text_special"}
    assert address("https://example.org/~x") == "https://example.org/\\~x"
    assert licence("MIT") == "[MIT](https://spdx.org/licenses/MIT.html)"
    assert licence("](x) <b>") == "\\](x) &lt;b&gt;"


def test_names_of_this_field_read_as_they_are_written() -> None:
    for name in ("nfnet_l0.ra2_in1k", "a-b", "v1.2", "x → y", "100 %", "R&D", "(see below)"):
        assert text(name) == name
    assert [code("a"), code("a`b"), code("")] == ["`a`", "`` a`b ``", "`  `"]


def test_a_template_escapes_what_it_prints_unless_it_is_markdown() -> None:
    assert [printed("*a*"), printed(Markdown("*a*")), printed(3)] == ["\\*a\\*", "*a*", 3]


def body(card: str) -> str:
    """Return a card without the metadata in front of it."""
    return card.split("\n---\n", 1)[-1]


def headings(markdown: str) -> list[str]:
    tokens = SHOWN.parse(markdown)
    return [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("style", available_styles())
def test_nothing_that_is_said_of_a_model_adds_to_the_card(style: str, value: str, files: dict[str, Path]) -> None:
    """Markup in every string that a file carries leaves the headings, the code and the tables as they are."""
    plain, hostile = (
        body(render(describe(told(nfexport.inspect(files["converted"]), word)), style)) for word in ("word", value)
    )
    assert len(headings(hostile)) == len(headings(plain))
    for kind in ("fence", "td_open", "html_block", "list_item_open", "blockquote_open", "hr", "code_block"):
        counts = [[token.type for token in SHOWN.parse(card)].count(kind) for card in (plain, hostile)]
        assert counts[0] == counts[1], kind
    kinds = {token.type for token in inlines(hostile)}
    assert kinds <= {"text", "text_special", "softbreak", "code_inline", "link_open", "link_close", "strong_open"} | {
        "strong_close"
    }
    assert "\x1b" not in hostile
    hostile.encode()


def told(facts: FileFacts, word: str) -> FileFacts:
    """Return facts in which every free text is this."""
    assert facts.recipe is not None
    accuracy = Accuracy(top1=1.0, top5=2.0, dataset=word, source=word)
    about = About(
        title=word,
        summary=word,
        preset=word,
        licence=word,
        dataset=word,
        origin=word,
        citations=(word, f"@misc{{a, title = {{{word}}}}}"),
        claimed=accuracy,
    )
    recipe = msgspec.structs.replace(
        facts.recipe, labels=(word, "dog"), versions={word: word}, architecture=word, num_classes=2
    )
    return dataclasses.replace(facts, recipe=recipe, about=about, evaluation=accuracy, producer=word)


def test_a_file_name_is_an_argument_and_a_string(foreign: Path) -> None:
    path = foreign.rename(foreign.with_name("-o 'x\" `y`.onnx"))
    card = nfexport.card(path)
    assert f"InferenceSession({literal(path.name)}, " in card
    assert "nfexport verify './-o '\"'\"'x\" `y`.onnx' --model NAME" in card
