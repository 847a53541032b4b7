"""storage.s3.calls: the time that the calls of one request may lose together."""

import contextvars

import pytest

from assetstore.concurrency import retry_budget
from assetstore.errors import Unavailable
from assetstore.storage.s3.calls import Calls
from assetstore.storage.s3.library import Service


def test_once_the_retry_budget_is_used_up_only_a_call_that_insists_is_made() -> None:
    calls, made = Calls("bucket", Service("http://127.0.0.1:9", "us-east-1", False, 8)), []

    def request() -> None:
        retry_budget.begin_request()
        retry_budget.RetryBudget().lose(retry_budget.ALLOWANCE_SECONDS)
        with pytest.raises(Unavailable):
            calls.call(lambda _store: made.append("call"))
        calls.call(lambda _store: made.append("call that insists"), insist=True)

    contextvars.copy_context().run(request)
    assert made == ["call that insists"]
