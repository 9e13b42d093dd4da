"""A DICOM node that receives studies by C-STORE, and sends a report of each to a peer."""

import logging
import threading
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pandas as pd
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES

from vesalius.config.errors import InputError
from vesalius.data.formats.dicom.headers import OWN_MANUFACTURER
from vesalius.deploy.dicom.heat_maps import build_heat_maps
from vesalius.deploy.dicom.inbox import Full, Inbox, Limits
from vesalius.deploy.dicom.model_description import ModelDescription
from vesalius.deploy.dicom.peer import Peer, SendFailed
from vesalius.deploy.dicom.reports import build_reports
from vesalius.deploy.explain.methods import check_explanation
from vesalius.deploy.inputs import find_inputs
from vesalius.deploy.predictor import Predictor

logger = logging.getLogger("vesalius")

_SUCCESS, _FULL, _NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000
_VERIFICATION = "1.2.840.10008.1.1"
_DEFLATED = "1.2.840.10008.1.2.1.99"  # expands without bound
_MAX_PDU = 2**18
_OVERHEAD = 2**20  # of a message, beyond its data set
_RETRIES = (1.0, 5.0, 25.0)  # seconds to wait before trying to send again


class Receiver:
    """Receives studies, predicts for each once it is complete, and sends the report.

    Nothing that is received is logged, or kept after its report is sent.

    Args:
        model: that predicts.
        peer: that gets the reports.
        port: to listen on; 0 for any that is free.
        host: address to listen on.
        ae_title: of this node, which callers must call it by.
        callers: the AE titles that may call; None for all.
        limits: of what is received and held.
        explain: the method of the heat maps that are sent with each report; None for none.
    """

    def __init__(
        self,
        model: Predictor,
        peer: Peer,
        *,
        port: int,
        host: str = "127.0.0.1",
        ae_title: str = "VESALIUS",
        callers: Sequence[str] | None = None,
        limits: Limits | None = None,
        explain: str | None = None,
    ) -> None:
        self._model, self._peer, self._limits = model, peer, limits or Limits()
        self._host, self._port, self._explain = host, port, explain
        if explain is not None:
            check_explanation(model.backend, explain, None)
        self._entity = _entity(ae_title, callers, self._limits)
        self._description = ModelDescription.of(model)
        self._inbox = Inbox(self._limits)
        self._received: dict[int, int] = {}  # bytes of each association since its last image
        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._work, name="dicom", daemon=True)
        self._server: Any = None

    @property
    def port(self) -> int:
        """That it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen, in threads of its own.

        Raises:
            InputError: if the port cannot be listened on.
        """
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # its records quote what peers send
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._bound),
            (evt.EVT_DATA_RECV, self._count),
            (evt.EVT_C_STORE, self._store),
            *((event, self._end) for event in (evt.EVT_RELEASED, evt.EVT_ABORTED, evt.EVT_CONN_CLOSE)),
        ]
        try:
            self._server = self._entity.start_server((self._host, self._port), block=False, evt_handlers=handlers)
        except OSError as error:
            raise InputError(
                f"dicom={self._port}: cannot listen on {self._host} ({error.strerror}): choose another port."
            ) from None
        self._worker.start()

    def stop(self) -> None:
        """Stop listening, and delete what is not reported yet."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._server is not None:
            self._server.shutdown()
        self._inbox.close()
        if self._worker.is_alive():
            self._worker.join(timeout=60)

    def __enter__(self) -> "Receiver":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _bound(self, event: Any) -> None:
        """Refuse a PDU that claims to be larger than was negotiated: it would be read into memory as a whole."""
        socket = event.assoc.dul.socket
        receive = socket.recv

        def bounded(size: int) -> bytearray:
            if size > _MAX_PDU:
                raise OSError("a PDU is too large")
            return bytearray(receive(size))

        socket.recv = bounded

    def _count(self, event: Any) -> None:
        """End an association whose message goes beyond the size of an image."""
        key = id(event.assoc)
        self._received[key] = self._received.get(key, 0) + len(event.data)
        if self._received[key] > self._limits.file_bytes + _OVERHEAD:
            event.assoc.abort()

    def _store(self, event: Any) -> int:
        self._received[id(event.assoc)] = 0
        content = event.encoded_dataset()
        try:
            header = dcmread(
                BytesIO(content), stop_before_pixels=True, specific_tags=["StudyInstanceUID", "Manufacturer"]
            )
            study, instance = str(header.StudyInstanceUID), str(event.request.AffectedSOPInstanceUID)
        except Exception:  # a damaged data set can raise nearly anything
            return _NOT_UNDERSTOOD
        if str(header.get("Manufacturer")) == OWN_MANUFACTURER:  # a report comes back with its study
            return _SUCCESS
        try:
            self._inbox.put(id(event.assoc), study, instance, content)
        except Full:
            return _FULL
        return _SUCCESS

    def _end(self, event: Any) -> None:
        self._received.pop(id(event.assoc), None)
        self._inbox.end(id(event.assoc))

    def _work(self) -> None:
        while not self._stopping.is_set():
            with self._inbox.take() as folder:
                if folder is None:
                    return
                try:
                    files, _ = find_inputs(folder, self._model.contract)
                    table = pd.concat(list(self._model.rows(files, [file.name for file in files])), ignore_index=True)
                    reports, _ = build_reports(self._description, files, table)
                    if self._explain is not None:
                        reports += build_heat_maps(self._model, files, table, self._explain)
                except InputError:
                    reports = []
                except Exception as error:  # the next study may be another; the words may quote the header
                    logger.error("a study could not be predicted (%s)", type(error).__name__)
                    continue
            if reports:
                self._send(reports)
            else:
                logger.warning("a study has no image that the model takes, and gets no report")

    def _send(self, reports: Sequence[Dataset]) -> None:
        for wait in (*_RETRIES, None):
            try:
                self._peer.send(reports)
                logger.info("the report of a study is sent")
                return
            except SendFailed as failure:
                if wait is None or self._stopping.wait(wait):
                    logger.error("the report of a study is lost: %s", failure)
                    return


def _entity(ae_title: str, callers: Sequence[str] | None, limits: Limits) -> AE:
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(callers or ())
    entity.maximum_associations = limits.associations
    entity.maximum_pdu_size = _MAX_PDU // 2
    entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = limits.idle_seconds
    entity.add_supported_context(_VERIFICATION)
    syntaxes = [syntax for syntax in ALL_TRANSFER_SYNTAXES if syntax != _DEFLATED]
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), syntaxes)
    return entity
