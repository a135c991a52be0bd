"""Sockets tell what changed; pages fetch the rest themselves."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from webapp import access, services, upload_jobs

_REFUSED = 4404


class UploadProgress(AsyncJsonWebsocketConsumer):
    """The progress of one upload, to the session that started it: UploadJob.to_dict() at once and after every change.

    Closes when the upload is finished; with code 4404 when the session does not own such an upload.
    """

    _group: str | None = None

    async def connect(self) -> None:
        """Accept the socket and say where the upload stands."""
        await self.accept()
        upload_jobs.remember_socket_loop()
        job = self.scope["url_route"]["kwargs"]["job"]
        owner = access.scope_owner(self.scope)
        if not access.scope_is_granted(self.scope) or not await sync_to_async(services.find_upload)(job, owner):
            await self.close(code=_REFUSED)
            return
        # First the group, then the state: a change in between is told twice rather than never.
        self._group = services.upload_group(job)
        await self.channel_layer.group_add(self._group, self.channel_name)
        row = await sync_to_async(services.find_upload)(job, owner)
        if row is not None:
            await self._tell(row.to_dict())

    async def disconnect(self, code: int) -> None:
        """Leave the upload's group."""
        if self._group is not None:
            await self.channel_layer.group_discard(self._group, self.channel_name)

    async def upload_changed(self, event: dict[str, Any]) -> None:
        """Pass one change on."""
        await self._tell(event["job"])

    async def _tell(self, job: dict[str, Any]) -> None:
        await self.send_json(job)
        if job["state"] != "reading":
            await self.close()
