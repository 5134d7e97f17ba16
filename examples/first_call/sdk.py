from io import BytesIO

from pagepool_sdk import Client
from pagepool_sdk.api.pages import load_pages, store_pages
from pagepool_sdk.types import File

with Client("http://127.0.0.1:8000") as client:
    store_pages.sync_detailed(1, 42, client=client, body=File(BytesIO(b"\x80" * 4096)))
    print(len(load_pages.sync(1, 42, client=client).payload.read()))
