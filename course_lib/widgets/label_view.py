"""Look at rows as the model learns from them: a view of `data.marked_rows` and `display`."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import ipywidgets as w

from course_lib.data import marked_rows, masking, packing
from course_lib.errors import DataError, TunebookError
from course_lib.teaching import display, markdown
from course_lib.training.config import TrainConfig
from course_lib.widgets import style

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

N_ROWS = 100  # that are looked at: enough to see how they are, at once on any machine
SHORTEST = 2  # tokens: the first is never predicted, so one alone teaches nothing
CUT_SHOWN = 60  # tokens that were cut off and are shown nevertheless
ROW, PACK = "row", "pack"


class LabelView(style.Panel):
    """Rows and packs token by token: who speaks, what carries loss, where a row is cut.

    Args:
        rows: each with `messages` or with `text`; the first `N_ROWS` are looked at.
        tokenizer: the model's tokenizer, with its chat template.
        max_length: tokens at most in a row and in a pack.
        method: of packing.
        loss_turns: which replies carry loss.

    Raises:
        DataError: there are no rows. A row that is not as expected is no error: it is told where
            it would be shown.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        tokenizer: "PreTrainedTokenizerBase",
        max_length: int = 256,
        method: packing.Method = "next_fit",
        loss_turns: masking.LossTurns = "all",
    ) -> None:
        self._rows = list(itertools.islice(rows, N_ROWS))
        if not self._rows:
            raise DataError("There are no rows to look at.", "Give at least one row.")
        self._tokenizer = tokenizer
        self._shown: list[marked_rows.MarkedRow | marked_rows.MarkedPack | str] = []
        self._make_controls(max_length, method, loss_turns)
        top = w.HBox([self.unit, self.number], layout=w.Layout(flex_flow="row wrap"))
        how = [self.max_length, self.method, self.loss_turns, self.as_table]
        choices = w.HBox(how, layout=w.Layout(flex_flow="row wrap"))
        super().__init__([top, choices, self.summary, self.body], self.static)
        self._encode()

    @staticmethod
    def of_config(config: TrainConfig) -> "LabelView":
        """The view of a config's own data, as its run would learn from it.

        Args:
            config: the config.

        Raises:
            TunebookError: its data or its base model cannot be read.
        """
        from course_lib.training import rows  # loads torch, which takes seconds

        return LabelView(
            list(itertools.islice(rows.iter_rows(config), N_ROWS)),
            rows.load_tokenizer(config),
            config.max_length,
            config.packing,
            config.loss_turns,
        )

    # --- parts -----------------------------------------------------------------------------------

    def _make_controls(
        self, max_length: int, method: packing.Method, loss_turns: masking.LossTurns
    ) -> None:
        usual = {"style": {"description_width": "6em"}, "layout": w.Layout(width="15em")}
        self.unit = w.ToggleButtons(
            options=[("One row", ROW), ("One pack", PACK)],
            tooltips=["a row of the data set", "rows that fill max_length together"],
        )
        self.number = w.BoundedIntText(
            1, min=1, max=1, description="Number", tooltip="which row or pack", **usual
        )
        self.max_length = w.IntText(
            max_length,
            description="max_length",
            tooltip="tokens in a row, and in a pack",
            **usual,
        )
        self.method = w.Dropdown(
            options=get_args(packing.Method), value=method, description="packing", **usual
        )
        self.loss_turns = w.Dropdown(
            options=get_args(masking.LossTurns),
            value=loss_turns,
            description="loss_turns",
            **usual,
        )
        self.as_table = w.Checkbox(
            description="As a table",
            tooltip="one token in each line, for screen readers",
            indent=False,
            layout=w.Layout(width="auto", margin="2px 2px 2px 16px"),
        )
        self.summary, self.body = w.HTML(), w.HTML()
        for box in (self.unit, self.max_length, self.method, self.loss_turns):
            box.observe(lambda change: self._encode(), "value")
        for box in (self.number, self.as_table):
            box.observe(lambda change: self._show(), "value")

    # --- encoding --------------------------------------------------------------------------------

    def _encode(self) -> None:
        """Mark all rows anew; a wrong number is told and changes nothing else."""
        if self.max_length.value < SHORTEST:
            text = f"max_length is {self.max_length.value}: use at least {SHORTEST} tokens."
            self._shown = [text]
        else:
            self._shown = list(self._marked())
            if self.unit.value == PACK:
                self._shown = self._packed()
        self.number.max = len(self._shown)
        self._show()

    def _marked(self) -> Iterator[marked_rows.MarkedRow | str]:
        """Each row, or what is wrong with it."""
        for number, row in enumerate(self._rows, 1):
            try:
                yield from marked_rows.mark_row(
                    row, self._tokenizer, self.max_length.value, self.loss_turns.value
                )
            except TunebookError as error:
                yield f"Row {number} of the data: {error}"

    def _packed(self) -> list[marked_rows.MarkedPack | str]:
        good = [marked for marked in self._shown if not isinstance(marked, str)]
        packs = marked_rows.pack_marked(good, self.max_length.value, self.method.value)
        return list(packs) or ["No row has anything to learn: there is no pack."]

    # --- showing ---------------------------------------------------------------------------------

    def _show(self) -> None:
        current = self._shown[self.number.value - 1]
        if isinstance(current, str):
            self.summary.value, self.body.value = style.line(current, "problem"), ""
            return
        view = self._tokens(current)
        notes = "".join(style.line(text, "warning") for text in self._warnings(current))
        self.summary.value = style.line(self._headline(current)) + notes
        shown = style.code(view.text, "Tokens") if self.as_table.value else view.html
        self.body.value = f'<div class="tb-line mathjax_ignore">{shown}</div>'

    def _tokens(self, current: marked_rows.MarkedRow | marked_rows.MarkedPack) -> display.HtmlView:
        is_pack = isinstance(current, marked_rows.MarkedPack)
        one = current.pack if is_pack else current.row
        positions = one.position_ids if is_pack else range(len(one.input_ids))
        return display.token_table(
            self._tokenizer, one.input_ids, one.labels, current.roles, positions
        )

    def _headline(self, current: marked_rows.MarkedRow | marked_rows.MarkedPack) -> str:
        place = f"{self.number.value} of {len(self._shown)}"
        speakers = ", ".join(
            f"{role} {current.roles.count(role):,}" for role in dict.fromkeys(current.roles)
        )
        if isinstance(current, marked_rows.MarkedPack):
            lengths = current.pack.lengths
            free = self.max_length.value - sum(lengths)
            return (
                f"Pack {place}: {len(lengths)} rows, {sum(lengths):,} tokens, {free:,} free; "
                f"tokens by speaker: {speakers}."
            )
        return f"Row {place}: {len(current.roles):,} tokens; tokens by speaker: {speakers}."

    def _warnings(self, current: marked_rows.MarkedRow | marked_rows.MarkedPack) -> list[str]:
        if isinstance(current, marked_rows.MarkedPack):
            return []
        found = []
        if current.cut_ids:
            lost = self._tokenizer.decode(current.cut_ids[:CUT_SHOWN])
            more = " …" if len(current.cut_ids) > CUT_SHOWN else ""
            found.append(
                f"Cut at max_length: {len(current.cut_ids):,} tokens are never seen: {lost}{more}"
            )
        if not current.has_loss:
            found.append(
                "Nothing to learn: no token carries loss, so training leaves this row out."
            )
        return found

    def static(self) -> display.HtmlView:
        """The row or pack that is shown now, with nothing to click."""
        current = self._shown[self.number.value - 1]
        if isinstance(current, str):
            return display.HtmlView(
                f"<p>{markdown.to_html(current)}</p>", markdown.make_visible(current)
            )
        lines = [self._headline(current), *self._warnings(current)]
        view = self._tokens(current)
        head = "".join(f"<p>{markdown.to_html(line)}</p>" for line in lines)
        text = "\n".join([*map(markdown.make_visible, lines), view.text])
        return display.HtmlView(head + view.html, text)
