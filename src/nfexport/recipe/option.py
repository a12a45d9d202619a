"""The declaration of an option: written once, next to the field or the pass that it belongs to.

The command line, the keyword arguments, the recipe and the commands on a model card are made from these values.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal[
    "flag", "switch", "choice", "integer", "number", "numbers", "text", "names", "pairs", "values", "size", "path"
]
"""How a value is written on the command line:

flag     --fold-ws                                        bool
switch   --merge-groups / --no-merge-groups               bool, or None where nothing is said
choice   --channels bgr                                   str, one of `choices`
integer  --top-k 5                                        int
number   --crop-pct 0.9                                   float
numbers  --mean 0.485,0.456,0.406                         tuple of floats, one a channel
text     --input-name image                               str
names    --extract-outputs A,B                            tuple of str
pairs    --rename OLD=NEW, several times                  dict of str to str
values   --model-kwargs KEY=VALUE, several times          dict of str to Python literals
size     --resize 224x320, height x width, or a word of `choices`        tuple of two ints, or the word
path     --labels FILE                                    pathlib.Path
"""

Section = Literal[
    "Source",
    "Images",
    "Graph",
    "Preprocessing",
    "Outputs",
    "Precision",
    "Output file",
    "Execution",
    "Verification",
    "Assertions",
    "Reporting",
]
"""The headings of --help, in their order."""

Command = Literal["export", "surgery"]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option: how it is written, what it means, and where it is offered.

    bare is the value of an option that is passed without one ('--normalize' means '--normalize nodes'); multiple
    says that it can be passed several times, which gives a tuple. keyword is the name of the Python argument; it
    follows from the flag unless it is given. default is the value where the option is not passed; default_text
    describes it where the value alone does not tell ("the model's own")."""

    flag: str
    help: str
    kind: Kind = "flag"
    section: Section = "Graph"
    choices: tuple[str, ...] = ()
    bare: str | None = None
    multiple: bool = False
    metavar: str | None = None
    default: Any = None
    default_text: str | None = None
    minimum: float | None = None
    hidden: bool = False
    commands: tuple[Command, ...] = ("export", "surgery")
    keyword: str = ""

    def __post_init__(self) -> None:
        if not self.keyword:
            msgspec.structs.force_setattr(self, "keyword", self.flag.lstrip("-").replace("-", "_"))
