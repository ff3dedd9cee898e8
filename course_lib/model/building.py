"""One model at a time is built in a process."""

import threading

# While transformers builds a model, of weights or of shapes alone, it changes things of the whole
# process, such as the default type of numbers, and puts back what it found: two at once would put
# back each other's for good. Panels load in threads of their own.
ALONE = threading.RLock()
