"""Which of a kernel's threads a widget's message goes to."""

import ipykernel
import pytest
from ipykernel.comm.comm import BaseComm

from course_lib.widgets import style


@pytest.mark.skipif(ipykernel.version_info < (7, 4), reason="ipykernel chooses no thread itself")
def test_once_a_panel_is_there_a_message_goes_to_the_thread_that_the_page_names():
    style.Panel([], lambda: None)
    comm = BaseComm(target_name="jupyter.widget", primary=False)
    comm._reply_subshell_id = "spoke last"
    assert comm._reply_subshell_for({"method": "update"}, "of the page") == "of the page"
    assert comm._reply_subshell_for(None, None) is None
