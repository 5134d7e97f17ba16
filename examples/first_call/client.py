from pagepool_client import Client

with Client("http://127.0.0.1:8000") as pool:
    pool.store(1, 42, b"\x80" * 4096)  # type 1, offset 42
    print(len(pool.load(1, 42)))
