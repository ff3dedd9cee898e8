"""What a page does, where no page is open.

`late` is what a line says in the end, when the page could not tell it before.
"""


def enter(panel, late=None):
    """Press Enter in a panel's line, and wait for the end of what it starts."""
    panel._typed(panel.message, {"event": "submit"}, [])
    arrive(panel, panel.message, late)
    panel.wait()


def click(panel, button, line, late=None):
    """Click a button, and wait for the end of what it starts."""
    button._handle_button_msg(button, {"event": "click"}, [])
    arrive(panel, line, late)
    panel.wait()


def arrive(panel, line, late):
    """What the page held back comes, and the number of the round trip behind it."""
    if late is not None:
        line.value = late
    panel.round_trip.back.value = panel.round_trip.there.value  # the link in the page
