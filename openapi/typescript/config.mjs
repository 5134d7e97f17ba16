// @hey-api/openapi-ts: functions over fetch, and types.
const here = (path) => new URL(path, import.meta.url).pathname;

export default {
  input: here("../openapi.json"),
  output: { path: here("../../sdk/typescript/src"), importFileExtension: ".js" },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
};
