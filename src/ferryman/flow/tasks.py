"""What a target is sent for a task that its provider has in another dialect than the caller's."""

from typing import Any

from msgspec.structs import replace

from ferryman.flow.call import Call
from ferryman.ir.receipt import Receipt
from ferryman.ir.usage import Usage
from ferryman.upstream.fleet import Target
from ferryman.upstream.reply import Reply
from ferryman.wire.envelope import Request
from ferryman.wire.paths import JSON
from ferryman.wire.task import TaskClient, TaskProvider
from ferryman.wire.tasks import CLIENTS, PROVIDERS, TASKS


class TaskTranslation:
    """Both sides of one attempt, and what was asked."""

    def __init__(
        self, client: TaskClient, provider: TaskProvider, asked: object, receipt: Receipt
    ) -> None:
        self._client = client
        self._provider = provider
        self._asked = asked
        self.receipt = receipt
        self.media_type = JSON

    def whole(self, reply: Reply) -> Usage | None:
        """Put a whole reply into the caller's dialect. Raises :class:`ReplyError`."""
        said: Any = self._provider.decode_reply(reply.body, self._asked)
        if said.usage is None:
            said = replace(said, usage=self._provider.counted(reply.headers))
        self.media_type, body = self._client.encode_reply(said, self._asked, self.receipt)
        reply.rewrite(body)
        usage: Usage | None = said.usage
        return usage


def ask_task(
    call: Call, request: Request, target: Target
) -> tuple[bytes, bytes, TaskTranslation] | None:
    """Head, body, and who reads the reply; None when the target's provider has no such task.

    Raises :class:`GatewayError` (400) for a request that it can't be asked.
    """
    task = TASKS.get(call.endpoint)
    if task is None:
        return None
    for endpoint, provider in PROVIDERS[task].items():
        if not provider.serves(target.model):
            continue
        head = target.runtime.head(endpoint, target.model, False, call.slot)
        if head is None:
            continue
        client = CLIENTS[call.endpoint]
        if call.task is None:
            call.task = client.decode_request(request.body, request.model)
        receipt = Receipt()
        body = provider.encode_request(call.task, target.aim, receipt)
        return head, body, TaskTranslation(client, provider, call.task, receipt)
    return None
