"""Print what is in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.cli.escaping import escape
from nfexport.cli.facts_table import add_facts, add_preprocessing, at_size, describe_labels, facts_table
from nfexport.cli.show_cost import add_cost
from nfexport.errors import InputError

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.inspection import FileFacts
    from nfexport.inspection.cost import Cost


def show_facts(facts: FileFacts, console: Console, cost: Cost | InputError | None = None) -> None:
    """Show the facts of a file and what an inference costs, or why that cannot be said."""
    table = facts_table()
    table.add_row("file", f"[bold]{escape(str(facts.path))}[/]")
    if facts.recipe is not None:
        recipe = facts.recipe
        table.add_row("model", escape(recipe.model_name) + at_size(recipe.stored_image_size))
        table.add_row("weights", recipe.weights.describe())
        add_preprocessing(table, recipe)
        table.add_row("labels", describe_labels(recipe.labels))
        table.add_row("made with", ", ".join(f"{name} {v}" for name, v in sorted(recipe.versions.items())))
    else:
        table.add_row("recipe", "none" if facts.recipe_error is None else escape(str(facts.recipe_error)))
    add_facts(table, facts)
    if isinstance(cost, InputError):
        table.add_row("cost", escape(str(cost)))
    elif cost is not None:
        add_cost(table, cost)
    table.add_row("operators", escape(", ".join(f"{name} {count}" for name, count in facts.operator_counts.items())))
    console.out.print(table)
