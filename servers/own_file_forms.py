"""The form of a config file that is written by hand for one server. What fits `services` judges."""

from typing import Any, Self

from django import forms

from servers import games, own_files
from servers.layer_forms import FileForm
from servers.models import ServerFile


class OwnFileForm(FileForm):
    """Path, text, and which version of it was seen. `fixed`: the path is that of a file which is there already."""

    was = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput({"data-draft": True}))

    def __init__(self, *args: Any, game: "games.Game", fixed: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.game, self.fixed = game, fixed
        path, text = self.fields["path"], self.fields["text"]
        path.help_text = f"Where the game looks for it; allowed is {', '.join(game.editable)}."
        if fixed:
            path.widget = forms.HiddenInput()
        name = self["path"].value() or "x.cfg"
        if name in own_files.generated(game):
            text.label = "By hand, after the lines above"
        syntax = own_files.syntax_of(game, name)
        if syntax not in own_files.ASCII_ONLY:
            text.widget.attrs["data-ascii"] = "no"
        text.widget.attrs["data-comment"] = own_files.COMMENTS.get(syntax, "")
        text.widget.attrs["data-refused"] = " ".join(own_files.reserved(game))

    def again(self, current: ServerFile | None) -> Self:
        """The same as it was sent, to be saved over what somebody else made of the file meanwhile."""
        data = {name: self[name].value() for name in self.fields}
        form = type(self)(data | {"was": current.version if current else ""}, game=self.game, fixed=self.fixed)
        if current:
            who = current.updated_by or "Somebody who is gone"
            form.add_error(None, f"{who} saved it since you opened it. Both texts are below: save yours over theirs?")
        else:
            form.add_error(None, "Somebody deleted it since you opened it. Save it again, or leave it deleted.")
        return form
