"""Programs that run a file on an image with only ONNX Runtime, numpy and Pillow.

They do what nfexport.images does, written out for one file: timm's evaluation transform, by Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.cards.contents import Run
from nfexport.cards.input_forms import scaled_size
from nfexport.cards.markdown import literal
from nfexport.errors import RecipeError
from nfexport.images.crop import FILTERS
from nfexport.images.decoder import MODES
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.inspection import TensorFacts
from nfexport.recipe.recipe import Output, Recipe

IMPORTS = ["import numpy as np", "import onnxruntime"]
FILE = "image.jpg"
BEST = 5
PROVIDERS = 'providers=["CPUExecutionProvider"]'
GIVEN = "names = [output.name for output in session.get_outputs()]\ngiven = dict(zip(names, session.run(names, {})))"
SHAPES = ["for name, value in given.items():", "    print(name, value.shape)"]


def runs_on_images(recipe: Recipe, file_name: str) -> tuple[tuple[Run, ...], str | None]:
    """Return a program for each use that the file's outputs allow; if there is none, the reason too."""
    pre = recipe.preprocessing
    if recipe.in_channels not in MODES:
        return (), f"images have 1 or 3 channels, and the file has {recipe.in_channels}"
    if pre.crop_mode != "none" and pre.interpolation not in FILTERS:
        return (), f"Pillow has no interpolation '{pre.interpolation}'"
    try:
        form = preprocessor_of(recipe)
    except RecipeError as error:
        return (), error.problem
    start = [*IMPORTS, "from PIL import Image" + (", ImageOps" if _pads(recipe) else ""), ""]
    start += [f'image = Image.open("{FILE}").convert("{MODES[recipe.in_channels]}")']
    start += [*_size(recipe, form), "", *_tensor(recipe, form), "", *_session(recipe, file_name)]
    return tuple(Run(title=title, code="\n".join([*start, *lines])) for title, lines in _uses(recipe.outputs)), None


def run_on_zeros(inputs: Sequence[TensorFacts], file_name: str) -> tuple[tuple[Run, ...], str | None]:
    """Return a program that feeds zeros to a file without a recipe."""
    feeds = []
    for entry in inputs:
        shape = entry.shape
        if shape is None or not all(isinstance(dim, int) for dim in shape[1:]):
            return (), f"the file does not give the size of its input '{entry.name}'"
        if entry.dtype not in ("float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool"):
            return (), f"numpy has no type {entry.dtype}"
        dims = [dim if isinstance(dim, int) else 1 for dim in shape]
        feeds.append(f"    {literal(entry.name)}: np.zeros({tuple(dims)}, np.{_numpy(entry.dtype)}),")
    session = f"session = onnxruntime.InferenceSession({literal(file_name)}, {PROVIDERS})"
    code = [
        *IMPORTS,
        "",
        "feeds = {  # zeros: put your data here",
        *feeds,
        "}",
        session,
        *GIVEN.format("feeds").split("\n"),
    ]
    return (Run(title="Inference", code="\n".join([*code, *SHAPES])),), None


def _literals(names: Sequence[str]) -> str:
    return f"[{', '.join(map(literal, names))}]"


def _numpy(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def _pads(recipe: Recipe) -> bool:
    pre = recipe.preprocessing
    return pre.crop_mode == "border" or (pre.crop_mode == "center" and pre.crop_pct > 1)


def _size(recipe: Recipe, form: Preprocessor) -> list[str]:
    pre = recipe.preprocessing
    if pre.crop_mode == "none":
        if form.size is None:
            return ["# of any size: the file resizes and crops it itself"]
        height, width = form.size
        taken = "the file accepts only images of this size"
        return [f"image = image.resize(({width}, {height}))  # {taken}"]
    (height, width), (tall, wide) = recipe.image_size, scaled_size(recipe)
    resize = f"image = image.resize({{}}, Image.Resampling.{pre.interpolation.upper()})"
    if pre.crop_mode == "squash":
        lines = [resize.format(f"({wide}, {tall})")]
    elif pre.crop_mode == "center" and tall == wide:
        lines = [
            f"# the shorter side becomes {tall} pixels",
            "width, height = image.size",
            "if width <= height:",
            f"    width, height = {tall}, int({tall} * height / width)",
            "else:",
            f"    width, height = int({tall} * width / height), {tall}",
            resize.format("(width, height)"),
        ]
    else:
        which, fits = ("max", "fits into") if pre.crop_mode == "border" else ("min", "covers")
        lines = [
            f"# until it {fits} {wide}×{tall}",
            f"ratio = {which}(image.height / {tall}, image.width / {wide})",
            resize.format("(round(image.width / ratio), round(image.height / ratio))"),
        ]
    if _pads(recipe):
        fill = form.fill[: recipe.in_channels] if pre.crop_mode == "border" else (0,) * recipe.in_channels
        lines += [
            f"x, y = max({width} - image.width, 0), max({height} - image.height, 0)",
            "border = (x // 2, y // 2, (x + 1) // 2, (y + 1) // 2)",
            f"image = ImageOps.expand(image, border, {fill[0] if len(fill) == 1 else fill})",
        ]
    if pre.crop_mode == "squash" and (tall, wide) == (height, width):
        return lines
    return [
        *lines,
        f"left, top = round((image.width - {width}) / 2), round((image.height - {height}) / 2)",
        f"image = image.crop((left, top, left + {width}, top + {height}))",
    ]


def _tensor(recipe: Recipe, form: Preprocessor) -> list[str]:
    pre = recipe.preprocessing
    low, high = pre.value_range
    axes = " [height, width]" if recipe.in_channels == 1 else " [height, width, RGB]"
    if pre.dtype == "uint8":
        lines = [f"tensor = np.asarray(image, np.uint8)  #{axes}"]
    else:
        scaled = {(0.0, 255.0): "", (0.0, 1.0): " / 255"}.get((low, high), f" * {(high - low) / 255!r} + {low!r}")
        lines = [f"tensor = np.asarray(image, np.float32){scaled}  #{axes}"]
    if recipe.in_channels == 1:
        lines.append("tensor = tensor[:, :, None]")
    if set(pre.mean) != {0.0} or set(pre.std) != {1.0}:
        lines += [
            f"mean, std = np.float32({list(pre.mean)}), np.float32({list(pre.std)})",
            "tensor = (tensor - mean) / std",
        ]
    if pre.channel_order == "bgr":
        lines.append("tensor = tensor[:, :, ::-1]  # RGB to BGR")
    if pre.layout == "nchw":
        lines.append("tensor = tensor.transpose(2, 0, 1)  # channels first")
    cast = ", np.float16" if pre.dtype == "float16" else ""
    lines.append(f"tensor = np.ascontiguousarray(tensor[None]{cast})")
    if recipe.batch not in ("dynamic", 1):
        lines.append(
            f"tensor = np.repeat(tensor, {recipe.batch}, axis=0)  # the file has a batch size of {recipe.batch}"
        )
    return lines


def _session(recipe: Recipe, file_name: str) -> list[str]:
    feeds = f"{{{literal(recipe.input_name)}: tensor}}"
    session = f"session = onnxruntime.InferenceSession({literal(file_name)}, {PROVIDERS})"
    return [session, *GIVEN.format(feeds).split("\n")]


def _uses(outputs: Sequence[Output]) -> list[tuple[str, list[str]]]:
    """Return what to do with the outputs, by the titles of timm's cards."""
    by_kind = {output.kind: f"given[{literal(output.name)}]" for output in outputs}
    uses: list[tuple[str, list[str]]] = []
    best = [f"for index in probabilities[0].argsort()[::-1][:{BEST}]:"]
    best += ['    print(f"class {index}: {probabilities[0, index]:.2%}")']
    if "topk-values" in by_kind:
        pairs = f"zip({by_kind['topk-indices']}[0], {by_kind['topk-values']}[0])"
        show = [f"for index, probability in {pairs}:", '    print(f"class {index}: {probability:.2%}")']
        uses.append(("Image Classification", show))
    elif scores := by_kind.get("probs") or by_kind.get("sigmoid"):
        uses.append(("Image Classification", [f"probabilities = {scores}", *best]))
    elif "logits" in by_kind:
        softmax = [
            f"logits = {by_kind['logits']}",
            "exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))",
            "probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)",
        ]
        uses.append(("Image Classification", [*softmax, *best]))
    for title, kinds in (
        ("Feature Map Extraction", ("features",)),
        ("Image Embeddings", ("embedding", "embedding-unpooled")),
    ):
        if names := [output.name for output in outputs if output.kind in kinds]:
            uses.append((title, [f"for name in {_literals(names)}:", "    print(name, given[name].shape)"]))
    return uses
