"""The limit of time of a request to S3. Only this module imports aiobotocore, and only `storage` imports it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ReadTimeoutError

SLOWEST_UPLOAD = 100_000
"""Bytes per second: a request that sends its body more slowly counts as one that is not answered."""


class LimitedSession(AIOHTTPSession):
    """Ends a request whose answer does not begin within the read timeout and the time to send its body.

    aiohttp counts its own read timeout from the moment when the body is sent. It sends that of a put when the server
    has answered ``100 Continue``, and waits without limit for that, and for a server that reads nothing. What is raised
    here is what botocore tries again.
    """

    async def send(self, request: Any) -> Any:
        """Send a request and return its response; ReadTimeoutError where none comes."""
        size = int(request.headers.get("Content-Length") or 0)
        limit = (self._timeout.sock_connect or 0) + (self._timeout.sock_read or 0) + size / SLOWEST_UPLOAD
        try:
            async with asyncio.timeout(limit):
                return await super().send(request)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
