"""What a page does, where no page is open."""


def enter(panel, late=None):
    """Press Enter in a panel's line, and wait for the end of what it starts.

    `late` is what the line says by then, when the page could not tell it before.
    """
    panel._typed(panel.message, {"event": "submit"}, [])
    if late is not None:
        panel.message.value = late
    panel.round_trip.back.value = panel.round_trip.there.value  # the link in the page
    panel.wait()
