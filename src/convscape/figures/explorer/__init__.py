"""The explorer: an interactive page about one layer, served, exported, or in a notebook.

`serve.Server` serves it to this machine, `page.single` writes it as one file, `widget.Explorer` is
the same page as a notebook widget, `network.describe` prepares a model for it. Its JavaScript is a
copy of the arithmetic, which the tests compare with Python's setting by setting.
"""
