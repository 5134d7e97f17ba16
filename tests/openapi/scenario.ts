// What each generated SDK does against a live service, in TypeScript; see scenario.py, which it follows step by step.
import { deepStrictEqual as equal, ok } from "node:assert";
import { readFileSync, writeFileSync } from "node:fs";
import * as sdk from "pagepool-sdk";
import { createClient } from "pagepool-sdk/client";

const [url, token, folder] = process.argv.slice(2) as [string, string, string];
const [pages, framesBody, one, noise] = ["pages.bin", "frames.bin", "one.bin", "noise.bin"].map((name) =>
  readFileSync(`${folder}/${name}`),
) as [Buffer<ArrayBuffer>, Buffer<ArrayBuffer>, Buffer<ArrayBuffer>, Buffer<ArrayBuffer>];
const TYPE = 7;
const SIZE = 4096;
const COUNT = 512;
const client = createClient({ baseUrl: url, auth: token });
const stranger = createClient({ baseUrl: url });
const path = (offset: number) => ({ type: TYPE, offset });

interface Answer<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

async function call<Data>(status: number, answer: Promise<Answer<Data>>): Promise<Answer<Data>> {
  const got = await answer;
  equal(got.response.status, status, `${got.response.url}: ${JSON.stringify(got.error)}`);
  return got;
}

async function refused(status: number, answer: Promise<{ error?: sdk.Problem | undefined; response: Response }>) {
  const got = await answer;
  equal(got.response.status, status, `${got.response.url}: ${JSON.stringify(got.error)}`);
  ok(got.error);
  equal(got.error.status, status);
  return { problem: got.error, response: got.response };
}

async function bytes(status: number, answer: Promise<Answer<Blob | File>>): Promise<Buffer> {
  const { data } = await call(status, answer);
  ok(data);
  return Buffer.from(await data.arrayBuffer());
}

const blob = (data: Buffer<ArrayBuffer>) => new Blob([data]);
const header = (answer: { response: Response }, name: string) => answer.response.headers.get(name);

const steps: Record<string, () => Promise<void>> = {
  authentication: async () => {
    equal((await refused(401, sdk.getPool({ client: stranger }))).problem.code, "unauthorized");
    equal((await call(200, sdk.getReadiness({ client: stranger }))).data?.status, "ready");
    equal((await call(200, sdk.getPool({ client }))).data?.page_size, SIZE);
  },
  page: async () => {
    await call(204, sdk.storePages({ client, path: path(42), body: blob(one) }));
    const loaded = sdk.loadPages({ client, path: path(42) });
    ok((await bytes(200, loaded)).equals(one));
    equal(header(await loaded, "Page-Kind"), "compressed");
  },
  extent: async () => {
    const stored = await call(204, sdk.storePages({ client, path: path(100), body: blob(pages) }));
    ok(header(stored, "Page-Counts")?.startsWith("zero="));
    ok((await bytes(200, sdk.loadPages({ client, path: path(100), query: { count: COUNT } }))).equals(pages));
  },
  frames: async () => {
    await call(204, sdk.storeFrames({ client, path: path(1000), body: blob(framesBody) }));
    const loaded = await bytes(200, sdk.loadPages({ client, path: path(1000), query: { count: 8 } }));
    ok(loaded.equals(pages.subarray(0, 8 * SIZE)));
    const answer = await bytes(200, sdk.loadFrames({ client, path: path(1000), query: { count: 8 } }));
    writeFileSync(`${folder}/frames-answer.bin`, answer);
    const gathered = sdk.gatherFrames({ client, path: { type: TYPE }, body: { extents: [[1000, 8]] } });
    ok((await bytes(200, gathered)).equals(answer));
  },
  head: async () => {
    const shown = await call(200, sdk.inspectPages({ client, path: path(42) }));
    equal(header(shown, "Content-Length"), `${SIZE}`);
    ok(Number(header(shown, "Page-Stored-Length")) > 0);
    await call(404, sdk.inspectPages({ client, path: path(9999) }));
  },
  "not modified": async () => {
    const etag = header(await sdk.loadPages({ client, path: path(42) }), "ETag")!;
    const headers = { "If-None-Match": etag };
    await call(304, sdk.loadPages({ client, path: path(42), headers }));
    await call(304, sdk.inspectPages({ client, path: path(42), headers }));
  },
  "precondition failed": async () => {
    const headers = { "If-Match": '"0000000000000000"' };
    const { problem } = await refused(412, sdk.storePages({ client, path: path(42), headers, body: blob(noise) }));
    equal([problem.code, problem.previous], ["precondition_failed", "kept"]);
    ok((await bytes(200, sdk.loadPages({ client, path: path(42) }))).equals(one));
  },
  missing: async () => {
    const { problem } = await refused(404, sdk.loadPages({ client, path: path(9000), query: { count: 3 } }));
    equal([problem.code, problem.missing], ["page_missing", [[9000, 3]]]);
    const query = { count: 3, missing: "zero" } as const;
    ok((await bytes(200, sdk.loadPages({ client, path: path(9000), query }))).equals(Buffer.alloc(3 * SIZE)));
  },
  full: async () => {
    await call(200, sdk.changeParameters({ client, body: { max_pool_bytes: 1 } }));
    try {
      const { problem, response } = await refused(507, sdk.storePages({ client, path: path(43), body: blob(noise) }));
      equal([problem.code, problem.previous], ["pool_full", "invalidated"]);
      ok(Number(response.headers.get("Retry-After")) > 0);
      await call(204, sdk.storePages({ client, path: path(43), body: blob(Buffer.alloc(SIZE)) }));
    } finally {
      await call(200, sdk.changeParameters({ client, body: { max_pool_bytes: 0 } }));
    }
  },
  delete: async () => {
    await call(204, sdk.invalidatePages({ client, path: path(42) }));
    equal((await refused(404, sdk.invalidatePages({ client, path: path(42) }))).problem.code, "page_missing");
    const some = await call(200, sdk.invalidatePages({ client, path: path(1000), query: { count: 4 } }));
    equal(some.data, { invalidated: 4 });
    const type = { type: TYPE };
    const rest = await call(200, sdk.invalidateExtents({ client, path: type, body: { extents: [[1000, 8]] } }));
    equal(rest.data?.invalidated, 4);
    const zeroed = await call(200, sdk.zeroExtents({ client, path: type, body: { extents: [[2000, 64]] } }));
    equal(zeroed.data?.zeroed, 64);
  },
  take: async () => {
    ok((await bytes(200, sdk.takePage({ client, path: path(43) }))).equals(Buffer.alloc(SIZE)));
    await refused(404, sdk.takePage({ client, path: path(43) }));
  },
  types: async () => {
    const [type, other] = [{ type: TYPE }, { type: TYPE + 1 }];
    await call(200, sdk.configureType({ client, path: other, body: { image_bytes: SIZE * 4 } }));
    const listed = await call(200, sdk.listTypes({ client }));
    equal(listed.data?.types.map((each) => each.type), [TYPE, TYPE + 1]);
    equal((await call(200, sdk.getType({ client, path: type }))).data?.stored_pages, COUNT + 64);
    const extents = sdk.getTypeExtents({ client, path: type, query: { from: 2000, count: 64 } });
    equal((await call(200, extents)).data?.extents, [{ offset: 2000, count: 64, state: "zero" }]);
    const map = sdk.getTypeMap({ client, path: type, query: { from: 2000, count: 64, cells: 1 } });
    equal((await call(200, map)).data?.cells[0]?.zero, 64);
    const unknown = await refused(404, sdk.getType({ client, path: { type: TYPE + 2 } }));
    equal(unknown.problem.code, "type_unknown");
  },
  image: async () => {
    const path = { type: TYPE + 1 };
    const whole = Buffer.concat([one, noise]);
    await call(204, sdk.writeImage({ client, path, body: blob(whole) }));
    equal(header(await call(200, sdk.inspectImage({ client, path })), "Content-Length"), `${2 * SIZE}`);
    ok((await bytes(200, sdk.readImage({ client, path }))).equals(whole));
    const headers = { Range: "bytes=4000-4199" };
    ok((await bytes(206, sdk.readImage({ client, path, headers }))).equals(whole.subarray(4000, 4200)));
  },
  parameters: async () => {
    const changed = await call(200, sdk.changeParameters({ client, body: { accept_threshold_percent: 80 } }));
    equal(changed.data, (await call(200, sdk.getParameters({ client }))).data);
    equal(changed.data?.accept_threshold_percent, 80);
  },
  end: async () => {
    for (const type of [TYPE, TYPE + 1]) await call(204, sdk.deleteType({ client, path: { type } }));
    equal((await call(200, sdk.getPool({ client }))).data?.stored_pages, 0);
  },
};

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log("ok", name);
}
