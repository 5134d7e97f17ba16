import { loadPages, storePages } from "pagepool-sdk";
import { createClient } from "pagepool-sdk/client";

const client = createClient({ baseUrl: "http://127.0.0.1:8000" });
const path = { type: 1, offset: 42 };
await storePages({ client, path, body: new Blob([new Uint8Array(4096).fill(0x80)]) });
const { data } = await loadPages({ client, path });
console.log(data?.size);
