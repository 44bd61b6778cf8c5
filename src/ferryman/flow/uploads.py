"""Calls whose request is a form with files: sent on while they come, and never held whole.

The caller's bytes go through a spool. As soon as the form has named its model, an upstream gets
them from the beginning on, with that name replaced; a second upstream, when the first fails, the
same. The rest of the form is watched while it is sent: it must not name another model.
"""

from ferryman.flow.call import Call
from ferryman.http1.drive import Gate
from ferryman.http1.exchange import Exchange
from ferryman.http1.head import is_form
from ferryman.http1.spool import Spool, SpoolReader
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.wire.envelope import Request
from ferryman.wire.multipart import FormReader

UPLOADS = frozenset(
    ("audio.transcriptions", "audio.translations", "images.edits", "images.variations")
)


class Upload:
    """A form on its way."""

    def __init__(self, spool: Spool, content_type: bytes, measured: bool) -> None:
        """Raises :class:`GatewayError` (400)."""
        self.content_type = content_type
        self.form = FormReader(spool, content_type, measured)
        self.refused: GatewayError | None = None
        """What was found wrong with the form while it was being sent."""

    def reader(self, model: str) -> SpoolReader:
        """The form from its beginning on, for an upstream that calls the model ``model``."""
        start, end = self.form.model_at
        return SpoolReader(self.form.spool, start, end, model.encode(), self._watch)

    def _watch(self) -> bool:
        try:
            self.form.follow()
        except GatewayError as error:
            self.refused = error
        return self.refused is None


async def receive(call: Call, measured: bool) -> Request:
    """The call's form, as soon as it has named its model. Raises :class:`GatewayError`.

    ``measured``: a digest is made of it.
    """
    exchange = call.exchange
    content_type = exchange.header(b"content-type") or b""
    if not is_form(content_type):
        raise GatewayError(
            415, ErrorKind.UNSUPPORTED_MEDIA, "Send a form here: multipart/form-data, with files."
        )
    spool = exchange.incoming
    if spool is None:
        spool = Spool()
        spool.append(exchange.body)
        spool.end()
    call.upload = Upload(spool, content_type, measured)
    form = call.upload.form
    while True:
        complete = spool.complete
        form.follow()
        if form.model:
            break
        if complete:
            raise GatewayError(
                400,
                ErrorKind.INVALID_REQUEST,
                "The form has no field 'model'; name one, e.g. \"provider/model\"."
                if form.closed
                else "The form ends before its last part does.",
                param="model" if form.closed else None,
            )
        await _more(exchange, spool)
        if exchange.gone:
            raise GatewayError(499, ErrorKind.CANCELLED, "The caller left during the upload.")
    return Request(b"", form.model, False, False, 0, {})


async def received(call: Call, upload: Upload) -> bytes:
    """The digest of the call's form, once all of it has come. Raises :class:`GatewayError`."""
    form = upload.form
    while True:
        complete = form.spool.complete
        form.follow()
        if form.closed:
            return form.digest
        if complete:
            text = "The form ends before its last part does."
            raise GatewayError(400, ErrorKind.INVALID_REQUEST, text)
        await _more(call.exchange, form.spool)
        if call.exchange.gone:
            raise GatewayError(499, ErrorKind.CANCELLED, "The caller left during the upload.")


async def _more(exchange: Exchange, spool: Spool) -> None:
    """Wait until more of the upload has come, or its caller has gone."""
    gate: Gate[None] = Gate()
    spool.on_more = exchange.on_gone = lambda: gate.open(None)
    await gate
    spool.on_more = exchange.on_gone = None
