"""The library behind the Tunebook lessons.

One note of bitsandbytes is held back here, before anything imports it: that an optional CPU
kernel package is missing. Nothing is wrong then, and a learner cannot know that.
"""

import logging

logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
    lambda record: "kernels-community" not in record.getMessage()
)
